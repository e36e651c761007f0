"""Check A24 of the wire contract with the unmodified package imperal-mcp.

Arguments: gateway URL, access token. Prints one JSON object a check."""
import asyncio
import json
import sys

from imperal_mcp.client import ImperalClient
from imperal_mcp.config import Config
from imperal_mcp.server import _shape

gateway, token = sys.argv[1:3]


def report(check: str, **facts) -> None:
    print(json.dumps({"check": check, **facts}))


async def a24_imperal_mcp_runs_a_tool() -> None:
    client = ImperalClient(Config(api_url=gateway, token=token))
    report("A24", result=await client.run_tool("notes", "list_notes", {"limit": 5}))
    # Its own shaping of the answer takes any `error` member for a failure.
    made = await client.operate("notes", "create_note", {"title": "milk"})
    card = await client.operate("notes", "delete_note", {"note_id": "note-1"}, confirmation_bypassed=True)
    report("A24 operate", made=made, shaped=_shape(made), card=card)


asyncio.run(a24_imperal_mcp_runs_a_tool())
