"""An MCP client that nobody of Portcullis wrote (PyPI `mcp`), driven by a list of steps.

Reads from standard input {"url", "token" | "key", "steps": [{"list": true} | {"call": name, "arguments": {...}}]}
and prints one JSON object with the result of each step."""
import asyncio
import json
import sys

from mcp import ClientSession, McpError
from mcp.client.streamable_http import streamablehttp_client


async def step(session: ClientSession, wanted: dict) -> dict:
    if "list" in wanted:
        tools, cursor = [], None
        while True:
            page = await session.list_tools(cursor=cursor) if cursor else await session.list_tools()
            tools += [tool.model_dump(mode="json", exclude_none=True) for tool in page.tools]
            cursor = page.nextCursor
            if not cursor:
                return {"tools": tools}
    try:
        result = await session.call_tool(wanted["call"], wanted.get("arguments", {}))
        return {"result": result.model_dump(mode="json", exclude_none=True)}
    except McpError as fault:
        return {"error": {"code": fault.error.code, "message": fault.error.message, "data": fault.error.data}}


async def main() -> None:
    plan = json.load(sys.stdin)
    headers = {"Authorization": f"Bearer {plan['token']}"} if plan.get("token") else {}
    if plan.get("key"):
        headers["x-api-key"] = plan["key"]
    async with streamablehttp_client(plan["url"], headers=headers) as (read, write, _):
        async with ClientSession(read, write) as session:
            server = await session.initialize()
            results = [await step(session, wanted) for wanted in plan["steps"]]
    print(json.dumps({"server": server.serverInfo.name, "results": results}))


asyncio.run(main())
