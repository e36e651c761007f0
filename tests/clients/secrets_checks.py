"""Checks A5 and A6 of the wire contract, and the healthy half of A7, with the unmodified imperal-sdk.

Arguments: gateway URL, token of the extension `vaulty` for the user, id of the user, id of another user, token of
another extension. Prints one JSON object a check."""
import asyncio
import json
import sys

from imperal_sdk.secrets.client import SecretClient
from imperal_sdk.secrets.spec import SecretSpec

gateway, token, user, other_user, other_token = sys.argv[1:6]
what = sys.argv[6] if len(sys.argv) > 6 else "whole"
VALUE = "planted-value-of-a-secret"

declared = {
    spec.name: spec
    for spec in [
        SecretSpec("api_key", "Key of the weather service", write_mode="both", max_bytes=64, rotation_hint_days=30),
        SecretSpec("pin", "Entered by the person only"),
        SecretSpec("shared_key", "One for all", scope="app"),
    ]
}

def client(session_token: str, ext: str = "vaulty", declares=declared) -> SecretClient:
    return SecretClient(
        ext_id=ext, imperal_id=user, auth_gw_base=gateway, session_token=session_token, declared=declares
    )

def report(check: str, **facts) -> None:
    print(json.dumps({"check": check, **facts}))

async def text_of(call) -> str:
    try:
        return f"returned {await call!r}"
    except Exception as error:  # the point is to see what the SDK makes of the answer
        return f"{type(error).__name__}: {error}"

async def a5_the_five_calls() -> None:
    c = client(token)
    before = await c.is_set("api_key")
    nothing = await c.get("api_key")
    await c.set("api_key", VALUE)
    value = await c.get("api_key")
    await asyncio.sleep(1.5)  # the last use is written beside the value once a second
    listed = {item.name: [item.is_set, item.last_accessed_at] for item in await c.list()}
    deleted = [await c.delete("api_key"), await c.delete("api_key")]
    report("A5", before=before, nothing=nothing, value=value == VALUE, listed=listed, deleted=deleted)

async def a6_nobody_else() -> None:
    report(
        "A6",
        other_app=await text_of(client(other_token).get("api_key")),
        other_user=await text_of(client(token).for_user(other_user).get("api_key")),
        own_app_of_another_path=await text_of(client(other_token, ext="vaulty").set("api_key", VALUE)),
    )

async def what_the_server_repeats() -> None:
    """The client's own checks are switched off by declaring more than the manifest does."""
    loose = {
        "undeclared": SecretSpec("undeclared", "d", write_mode="both"),
        "pin": SecretSpec("pin", "d", write_mode="both"),
        "api_key": SecretSpec("api_key", "d", write_mode="both", max_bytes=65536),
        "shared_key": SecretSpec("shared_key", "d", write_mode="both"),
    }
    c = client(token, declares=loose)
    report(
        "rules",
        undeclared=await text_of(c.get("undeclared")),
        pin=await text_of(c.set("pin", "1")),
        pin_delete=await text_of(c.delete("pin")),
        too_large=await text_of(c.set("api_key", "x" * 65)),
        shared=await text_of(c.set("shared_key", "x")),
        shared_get=await text_of(c.get("shared_key")),
    )

async def a7_without_the_key_provider() -> None:
    c = client(token)
    report("A7", get=await text_of(c.get("api_key")), set=await text_of(c.set("api_key", VALUE)))

async def main() -> None:
    if what == "without":
        return await a7_without_the_key_provider()
    await a5_the_five_calls()
    await a6_nobody_else()
    await what_the_server_repeats()

asyncio.run(main())
