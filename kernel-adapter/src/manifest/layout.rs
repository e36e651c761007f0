//! The shape of `imperal.json` v3 as one table: wire contract section 6, field by field.

use serde_json::{Map, Value};

use super::shape::{self, Findings, Layout, Shape};
use super::words;
use Shape::{Any, Bool, Int, List, NonBlank, NonEmptyList, OneOf, Text, TextUpTo, Word};

/// Checks keys and values of the whole file (M2 to M5).
pub(super) fn check(root: &Map<String, Value>, out: &mut Findings) {
    shape::object(root, &ROOT, "", "M4", out);
    for (section, layout) in NESTED {
        // A null is how the SDK writes "absent".
        if let Some(v) = root.get(*section).filter(|v| !v.is_null()) {
            shape::check(v, layout, &format!("/{section}"), "M5", out);
        }
    }
}

const SCOPE: Shape = Word(words::scope, "a scope: \"*\", \"ns:action\", \"ns:*\" or \"ns.action\"");
const TEXTS: Shape = List(&Text);
const SCOPES: Shape = List(&SCOPE);
const OBJECT: Shape = Shape::Map(&Any);

const ROOT: Layout = Layout {
    required: &[
        ("app_id", Word(words::app_id, "2 to 64 of a-z, 0-9 and inner \"-\" (V1)")),
        ("version", Word(words::semver, "a semantic version such as 1.0.0 or 1.0.0-rc.1 (V2)")),
    ],
    optional: &[
        ("manifest_schema_version", Shape::Version(&[1, 2, 3])),
        ("sdk_version", Word(words::semver, "a version such as 6.3.7")),
        ("name", Text),
        ("description", Text),
        ("icon", Text),
        ("icon_size_bytes", Int { min: 0, max: 102_400 }),
        ("author", Text),
        ("license", Text),
        ("homepage", Text),
        ("category", Text),
        ("tags", TEXTS),
        ("marketplace", OBJECT),
        ("pricing", OBJECT),
        ("actions_explicit", Bool),
        ("system", Bool),
        ("hidden_in_sidebar", Bool),
        ("capabilities", TEXTS),
        ("required_scopes", SCOPES),
        // The next three are checked by NESTED, whose rule is M5.
        ("tools", Any),
        ("signals", Any),
        ("schedules", Any),
        ("webhooks", List(&Shape::Object(&WEBHOOK))),
        ("events", Shape::Object(&EVENTS)),
        ("exposed", List(&Shape::Object(&EXPOSED))),
        ("lifecycle", Shape::Object(&LIFECYCLE)),
        ("lifecycle_hooks", Shape::Map(&OBJECT)),
        ("panels", List(&Shape::Object(&PANEL))),
        ("tray", List(&Shape::Object(&TRAY))),
        ("menu", List(&Shape::Object(&MENU))),
        ("secrets", List(&Shape::Object(&SECRET))),
        ("oauth", List(&Shape::Object(&OAUTH))),
        ("file_sinks", List(&Shape::Object(&FILE_SINK))),
        ("search_providers", List(&Shape::Object(&SEARCH_PROVIDER))),
        ("migrations_dir", Text),
        ("config_defaults", OBJECT),
    ],
    open: false,
};

const NESTED: &[(&str, Shape)] = &[
    ("tools", List(&Shape::Object(&TOOL))),
    ("signals", List(&Shape::Object(&SIGNAL))),
    ("schedules", List(&Shape::Object(&SCHEDULE))),
];

const TOOL: Layout = Layout {
    required: &[(
        "name",
        Word(words::tool_name, "letters, digits and \"_\", not starting with a digit"),
    )],
    optional: &[
        ("description", Text),
        ("scopes", SCOPES),
        ("parameters", Shape::Map(&Shape::Object(&PARAMETER))),
        // Not enforced by the SDK, where "nuke" passes (section 6).
        ("action_type", OneOf(&["read", "write", "destructive"])),
        ("chain_callable", Bool),
        ("effects", TEXTS),
        ("params_schema", OBJECT),
        ("return_schema", OBJECT),
        ("background", Bool),
        ("long_running", Bool),
        ("event", Text),
        ("owner_chat_tool", Text),
        ("synthetic", Bool),
        ("id_projection", Text),
    ],
    open: false,
};

const PARAMETER: Layout = Layout {
    required: &[
        ("type", OneOf(&["string", "integer", "number", "boolean", "array", "object"])),
        ("required", Bool),
    ],
    optional: &[("description", Text)],
    // The SDK's model keeps "description", "default" and the like.
    open: true,
};

const SIGNAL: Layout =
    Layout { required: &[("name", NonBlank)], optional: &[("description", Text)], open: false };

const SCHEDULE: Layout = Layout {
    required: &[
        ("name", NonBlank),
        // Ranges are ours: "a b c d e" passes the SDK (section 6).
        ("cron", Word(words::cron, "five cron fields in range, or @hourly .. @reboot")),
    ],
    optional: &[("description", Text)],
    open: false,
};

const WEBHOOK: Layout = Layout {
    required: &[("path", Word(words::webhook_path, "a path of a-z, 0-9, \"_\", \"-\" and \"/\""))],
    optional: &[("method", OneOf(&["POST", "GET", "PUT", "DELETE"])), ("secret_header", Text)],
    open: false,
};

const EVENTS: Layout = Layout {
    required: &[],
    optional: &[
        ("subscribes", List(&Shape::Object(&SUBSCRIPTION))),
        ("emits", List(&Shape::Object(&EMIT))),
    ],
    open: false,
};

const SUBSCRIPTION: Layout =
    Layout { required: &[("type", NonBlank), ("handler", Text)], optional: &[], open: false };

const EMIT: Layout =
    Layout { required: &[("type", NonBlank)], optional: &[("schema_ref", Text)], open: false };

const EXPOSED: Layout = Layout {
    required: &[("name", Text), ("action_type", OneOf(&["read", "write"]))],
    optional: &[],
    open: false,
};

const LIFECYCLE: Layout = Layout {
    required: &[],
    optional: &[
        ("on_install", Bool),
        ("on_uninstall", Bool),
        ("on_enable", Bool),
        ("on_disable", Bool),
        ("on_upgrade", TEXTS),
        ("health_check", Shape::Object(&HEALTH_CHECK)),
    ],
    open: false,
};

const HEALTH_CHECK: Layout = Layout {
    required: &[],
    optional: &[("interval_sec", Int { min: 30, max: 86_400 })],
    open: false,
};

const PANEL: Layout = Layout {
    required: &[],
    optional: &[
        ("slot", OneOf(&["center", "left", "right", "overlay", "bottom", "chat-sidebar"])),
        ("panel_id", Text),
        ("title", Text),
        ("icon", Text),
    ],
    open: true,
};

const TRAY: Layout = Layout {
    required: &[("tray_id", Word(words::item_id, "a-z first, then a-z, 0-9, \"_\" and \"-\""))],
    optional: &[
        ("icon", Text),
        ("tooltip", Text),
        ("zone", OneOf(&["status", "actions", "system"])),
        ("order", Int { min: i64::MIN, max: i64::MAX }),
        ("badge_style", OneOf(&["corner", "inline"])),
        ("icon_color", Text),
    ],
    open: false,
};

const MENU: Layout = Layout {
    required: &[
        ("item_id", Word(words::item_id, "a-z first, then a-z, 0-9, \"_\" and \"-\"")),
        ("label", Text),
    ],
    optional: &[
        ("icon", Text),
        ("section", OneOf(&["main", "admin"])),
        ("path", Text),
        ("order", Int { min: i64::MIN, max: i64::MAX }),
        ("danger", Bool),
    ],
    open: false,
};

const SECRET: Layout = Layout {
    required: &[
        ("name", Word(words::snake, "a-z first, then a-z, 0-9 and \"_\", at most 63")),
        ("description", NonBlank),
    ],
    optional: &[
        ("required", Bool),
        ("write_mode", OneOf(&["user", "extension", "both"])),
        ("max_bytes", Int { min: 1, max: 65_536 }),
        ("rotation_hint_days", Int { min: 1, max: 36_500 }),
        ("scope", OneOf(&["user", "app"])),
        ("env_fallback", Word(words::app_secret_env, "a name starting with IMPERAL_APPSECRET_")),
    ],
    open: false,
};

const OAUTH: Layout = Layout {
    required: &[("provider", NonBlank)],
    optional: &[
        ("collection", Word(words::snake, "a-z first, then a-z, 0-9 and \"_\"")),
        ("scopes", TEXTS),
        ("has_hook", Bool),
    ],
    open: false,
};

const FILE_SINK: Layout = Layout {
    required: &[
        ("tool", Word(words::snake, "a-z first, then a-z, 0-9 and \"_\", at most 63")),
        ("accepts", NonEmptyList(&Text)),
        ("arg", NonBlank),
    ],
    optional: &[
        ("arg_kind", OneOf(&["text", "file_id", "bytes_ref"])),
        ("description", TextUpTo(200)),
    ],
    open: false,
};

const SEARCH_PROVIDER: Layout = Layout {
    required: &[
        ("entity_type", Word(words::entity, "1 to 64 of a-z, 0-9 and \"_\"")),
        ("handler", Word(words::entity, "1 to 64 of a-z, 0-9 and \"_\"")),
    ],
    optional: &[("description", TextUpTo(200))],
    open: false,
};
