"""Checks A16, A17, A18 and A24 of the wire contract with the unmodified package imperal-mcp.

Reads {"url", "writer", "reader", "other"} from standard input: the gateway and the access tokens of a user who may do
all, of one who may only read, and of another one who may do all. Prints one JSON object a step."""
import asyncio
import json
import sys

from imperal_mcp.client import ImperalClient, ImperalError
from imperal_mcp.config import Config

plan = json.load(sys.stdin)


def client(who: str) -> ImperalClient:
    return ImperalClient(Config(api_url=plan["url"], token=plan[who]))


async def step(name: str, asked) -> dict:
    """What the package made of an answer: its value, or the error that it raised."""
    try:
        told = {"value": await asked}
    except ImperalError as fault:
        told = {"status": fault.status_code, "said": str(fault)}
    print(json.dumps({"step": name, **told}), flush=True)
    return told.get("value") or {}


async def main() -> None:
    writer, reader, other = client("writer"), client("reader"), client("other")
    await step("A16 placeholder", writer.run_tool("notes", "create_note", {"title": "<UNKNOWN>"}))
    await step("A16 invented", writer.run_tool("notes", "create_note", {"title": "x", "message_id": "a-b-1"}))
    await step("A16 missing", writer.run_tool("notes", "create_note", {}))
    await step("A17", reader.run_tool("notes", "create_note", {"title": "not allowed"}))
    card = await step("A18 asked", writer.run_tool("notes", "delete_note", {"note_id": "note-18"}))
    place = f"/v1/confirmations/{card['confirmation_id']}"
    await step("A18 active", writer._request("GET", "/v1/confirmations/active"))
    await step("A18 by another", other._request("POST", f"{place}/confirm", json={}))
    await step("A18 confirmed", writer._request("POST", f"{place}/confirm", json={}))
    await step("A18 again", writer._request("POST", f"{place}/confirm", json={}))
    await step("A24 read", writer.run_tool("notes", "list_notes", {"limit": 5}))
    await step("A24 write", writer.operate("notes", "create_note", {"title": "x"}))
    await step("A24 destructive", writer.operate("notes", "delete_note", {"note_id": "note-24"}))


asyncio.run(main())
