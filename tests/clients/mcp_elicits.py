"""An MCP client that nobody of Portcullis wrote (PyPI `mcp`), whose person is asked while a call waits.

Reads from standard input {"url", "token" | "key", "modes": ["form", "url"], "answers": [...], "calls": [[name, arguments]]}.
Without "answers" the client can't ask its person. An answer is {"action", "content"?}; one with "wait" holds it back for
so many seconds, and one with "open" fetches that address template first, as a browser would. Prints one JSON object:
what the person was asked, and how each call ended."""
import asyncio
import json
import sys

from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import streamablehttp_client

asked: list[dict] = []


def person(answers: list[dict]):
    left = iter(answers)

    async def elicited(context, params) -> types.ElicitResult | types.ErrorData:
        asked.append(params.model_dump(mode="json", exclude_none=True))
        print(json.dumps({"asked": asked[-1]}), file=sys.stderr, flush=True)
        answer = next(left)
        await asyncio.sleep(answer.get("wait", 0))
        if answer["action"] == "fail":
            return types.ErrorData(code=-32603, message="the dialogue could not be shown")
        return types.ElicitResult(action=answer["action"], content=answer.get("content"))

    return elicited


async def call(session: ClientSession, name: str, arguments: dict) -> dict:
    try:
        result = await session.call_tool(name, arguments)
        return {"result": result.model_dump(mode="json", exclude_none=True)}
    except McpError as fault:
        return {"error": {"code": fault.error.code, "message": fault.error.message, "data": fault.error.data}}


def only(session: ClientSession, modes: list[str]) -> None:
    """The package always says both modes; a client of another make may know only one."""
    send = session.send_request

    async def narrowed(request, *rest, **more):
        if isinstance(request.root, types.InitializeRequest):
            able = request.root.params.capabilities.elicitation
            for mode in ("form", "url"):
                if mode not in modes:
                    setattr(able, mode, None)
        return await send(request, *rest, **more)

    session.send_request = narrowed


async def main() -> None:
    plan = json.load(sys.stdin)
    headers = {"Authorization": f"Bearer {plan['token']}"} if plan.get("token") else {}
    if plan.get("key"):
        headers["x-api-key"] = plan["key"]
    callback = person(plan["answers"]) if "answers" in plan else None
    async with streamablehttp_client(plan["url"], headers=headers) as (read, write, session_id):
        async with ClientSession(read, write, elicitation_callback=callback) as session:
            if callback and plan.get("modes"):
                only(session, plan["modes"])
            await session.initialize()
            ended = [await call(session, name, arguments) for name, arguments in plan["calls"]]
            named = session_id()
    print(json.dumps({"session": named, "asked": asked, "ended": ended}))


asyncio.run(main())
