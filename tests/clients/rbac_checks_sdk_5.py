"""Checks A11 and A12 of the wire contract with the unmodified imperal-sdk 5.0.1, as far as it can ask.

It has neither an RBAC nor a users namespace, so its own HTTP client (`ctx.http` of its extensions) sends what those of
6.3.7 send; what came of it is read by what it has: `ImperalAuth`, and `has_scope` of its users.

Arguments: gateway URL, tenant, then as JSON on standard input what `rbac_checks.py` takes, and {email, password} of
the user. Prints one JSON object a check."""
import asyncio
import importlib.util
import json
import sys

from imperal_sdk.auth.client import ImperalAuth
from imperal_sdk.http.client import HTTPClient
from imperal_sdk.types.identity import User

gateway, tenant = sys.argv[1:3]
people = json.load(sys.stdin)
http, auth = HTTPClient(), ImperalAuth(gateway)


def report(check, **facts):
    print(json.dumps({"check": check, **facts}))


def headers(who, acting=None):
    return {"X-Service-Token": people[who]["token"], "X-Acting-User": acting or people[who]["id"],
            "X-Extension-ID": "panel", "X-Tenant-ID": tenant}


async def ask(who, method, path, acting=None, **kwargs):
    return await getattr(http, method)(f"{gateway}{path}", headers=headers(who, acting), **kwargs)


async def has(scope):
    """Whether the user has a scope: by a new token, and by what the gateway says of its owner."""
    login = {"email": people["email"], "password": people["password"], "tenant_id": tenant}
    token = (await http.post(f"{gateway}/v1/auth/login", json=login)).body["access_token"]
    user = User(**await auth.get_user_info(token))
    return [auth.verify(token).has_scope(scope), user.has_scope(scope)]


async def a11_an_admin_manages_roles():
    user = people["user"]
    made = await ask("admin", "post", "/v1/roles", json={"name": "clerk", "default_scopes": ["notes:read"]})
    role = f"/v1/roles/{made.body['id']}"
    listed = await ask("admin", "get", "/v1/roles")
    await ask("admin", "patch", f"/v1/users/{user}", json={"role": "clerk"})
    wider = {"default_scopes": ["notes:read", "mail:send"]}
    await ask("admin", "patch", f"{role}?cascade=false", json=wider)
    kept = await has("mail:send")
    await ask("admin", "patch", f"{role}?cascade=true", json=wider)
    given = await has("mail:send")
    effective = await ask("admin", "get", f"/v1/scopes/effective/{user}")
    held = await ask("admin", "delete", role)
    await ask("admin", "patch", f"/v1/users/{user}", json={"role": "user"})
    gone = await ask("admin", "delete", role)
    report("A11", listed=[r["name"] for r in listed.body], kept=kept, given=given, effective=effective.body["scopes"],
           held=held.status_code, gone=gone.status_code)


async def a12_somebody_else_does_not():
    other, admin = people["other"]["id"], people["admin"]["id"]
    refused = {
        "create_role": await ask("other", "post", "/v1/roles", json={"name": "x"}),
        "list_users": await ask("other", "get", "/v1/users"),
        "update": await ask("other", "patch", f"/v1/users/{other}", json={"role": "admin"}),
        "effective": await ask("other", "get", f"/v1/scopes/effective/{admin}"),
        "somebody_else": await ask("other", "get", "/v1/roles", acting=admin),
    }
    report("A12", **{name: answer.status_code for name, answer in refused.items()})


lacks = [name for name in ("rbac", "users") if importlib.util.find_spec(f"imperal_sdk.{name}") is None]
report("lacks", namespaces=lacks)
asyncio.run(a11_an_admin_manages_roles())
asyncio.run(a12_somebody_else_does_not())
