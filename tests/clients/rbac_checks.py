"""Checks A11 and A12 of the wire contract with the unmodified imperal-sdk, and its users namespace.

Arguments: gateway URL, tenant, then as JSON on standard input: {admin: {id, token}, other: {id, token}, user: id}.
The tokens are service tokens of an app, each for one user. Prints one JSON object a check."""
import asyncio
import json
import sys

from imperal_sdk.errors import APIError, AuthError, NotFoundError
from imperal_sdk.rbac.client import RBACClient
from imperal_sdk.users.client import UsersClient

gateway, tenant = sys.argv[1:3]
people = json.load(sys.stdin)


def client(kind, who):
    return kind(gateway, people[who]["token"], people[who]["id"], "panel", tenant)


def report(check, **facts):
    print(json.dumps({"check": check, **facts}))


async def a11_an_admin_manages_roles():
    rbac, user = client(RBACClient, "admin"), people["user"]
    made = await rbac.create_role(name="clerk", display_name="Clerk", default_scopes=["notes:read"])
    listed = await rbac.list_roles()
    await client(UsersClient, "admin").update(user, role="clerk")
    await rbac.update_role(made["id"], default_scopes=["notes:read", "mail:send"])
    kept = await rbac.effective_scopes(user)
    await rbac.update_role(made["id"], cascade=True, default_scopes=["notes:read", "mail:send"])
    given = await rbac.effective_scopes(user)
    try:
        await rbac.delete_role(made["id"])
        held = "deleted"
    except APIError as fault:
        held = str(fault)
    await client(UsersClient, "admin").update(user, role="user")
    gone = await rbac.delete_role(made["id"])
    try:
        await rbac.update_role(made["id"], display_name="x")
        again = "updated"
    except NotFoundError:
        again = "not found"
    report("A11", listed=[r["name"] for r in listed], kept=kept["scopes"], given=given["scopes"], held=held,
           gone=gone, again=again)


async def a11_scopes_and_users():
    rbac, users = client(RBACClient, "admin"), client(UsersClient, "admin")
    scope = await rbac.create_scope(resource="cases", action="read", display_name="Read cases")
    names = [s["name"] for s in await rbac.list_scopes(resource="cases")]
    await rbac.delete_scope(scope["id"])
    made = await users.create(email="Zoe@acme.example", password="planted-password-of-zoe", role="user")
    found = await users.list(search="zoe@")
    await users.set_active(made["id"], False)
    hidden = await users.list(search="zoe@")
    shown = await users.list(search="zoe@", include_inactive=True)
    settings = await users.update_settings(made["id"], {"confirmation_actions": ["write"], "max_tool_rounds": 7})
    read = await users.get_settings(made["id"], tenant_id=tenant)
    report("A11b", names=names, email=made["email"], found=len(found["users"]), hidden=len(hidden["users"]),
           shown=len(shown["users"]), actions=settings["confirmation_actions"], rounds=read["max_tool_rounds"])


async def a12_somebody_else_does_not():
    rbac, users, refused = client(RBACClient, "other"), client(UsersClient, "other"), {}
    for name, wish in {
        "create_role": lambda: rbac.create_role(name="x"),
        "list_users": lambda: users.list(),
        "update": lambda: users.update(people["other"]["id"], role="admin"),
        "effective": lambda: rbac.effective_scopes(people["admin"]["id"]),
        "somebody_else": lambda: rbac.for_user(people["admin"]["id"]).list_roles(),
    }.items():
        try:
            await wish()
            refused[name] = "done"
        except AuthError as fault:
            refused[name] = "AuthError"
    report("A12", **refused)


asyncio.run(a11_an_admin_manages_roles())
asyncio.run(a11_scopes_and_users())
asyncio.run(a12_somebody_else_does_not())
