"""Checks A1, A2 and A24 of the wire contract with the unmodified packages imperal-sdk and imperal-mcp.

Arguments: gateway URL, access token, expected user id, expected tenant. Prints one JSON object a check."""
import asyncio
import json
import sys

import httpx
from imperal_mcp.client import ImperalClient
from imperal_mcp.config import Config
from imperal_mcp.server import _shape
from imperal_sdk.auth import ImperalAuth
from imperal_sdk.types.identity import User

gateway, token, user_id, tenant = sys.argv[1:5]


def report(check: str, **facts) -> None:
    print(json.dumps({"check": check, **facts}))


def a1_the_sdk_verifies_our_token() -> None:
    user = ImperalAuth(gateway).verify(token)
    report("A1", imperal_id=user.imperal_id, tenant_id=user.tenant_id, role=user.role, scopes=list(user.scopes))


def a2_me_is_an_sdk_user() -> None:
    me = httpx.get(f"{gateway}/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
    user = User(**me.json())
    report("A2", imperal_id=user.imperal_id, tenant_id=user.tenant_id)


async def a24_imperal_mcp_runs_a_tool() -> None:
    client = ImperalClient(Config(api_url=gateway, token=token))
    report("A24", result=await client.run_tool("notes", "list_notes", {"limit": 5}))
    # Its own shaping of the answer takes any `error` member for a failure.
    made = await client.operate("notes", "create_note", {"title": "milk"})
    card = await client.operate("notes", "delete_note", {"note_id": "note-1"}, confirmation_bypassed=True)
    report("A24 operate", made=made, shaped=_shape(made), card=card)


a1_the_sdk_verifies_our_token()
a2_me_is_an_sdk_user()
asyncio.run(a24_imperal_mcp_runs_a_tool())
