"""An MCP client of PyPI `mcp` that knows nothing but an address, and a person who walks the pages by plain forms.

Reads {"url", "tenant", "email", "password", "tool", "arguments", "decision"} from standard input. Prints one JSON object:
the pages it saw, the tools, the answer of the call, the tokens, and how a second call with a renewed token went.
"""

import asyncio
import html
import json
import re
import sys
import traceback
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamablehttp_client
from mcp.shared.auth import OAuthClientMetadata

PLAN = json.load(sys.stdin)
SEEN = {"pages": []}


class Kept(TokenStorage):
    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


def fields_of(page):
    """The first form of `main`, as a browser without scripts would send it."""
    form = re.search(r"<main>.*?(<form.*?</form>)", page, re.S).group(1)
    action = html.unescape(re.search(r'action="([^"]*)"', form).group(1))
    hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form)
    return action, {name: html.unescape(value) for name, value in hidden}


class Person:
    """Signs in and decides; knows only what the pages say."""

    answer = None

    async def go(self, address):
        async with httpx.AsyncClient(follow_redirects=False) as browser:
            page = await browser.get(address)
            while True:
                SEEN["pages"].append([page.status_code, urlsplit(str(page.url)).path])
                if page.status_code == 303:
                    there = urljoin(str(page.url), page.headers["location"])
                    if urlsplit(there).port == 33418:
                        self.answer = parse_qs(urlsplit(there).query)
                        return
                    page = await browser.get(there)
                    continue
                assert page.status_code == 200, page.text
                action, fields = fields_of(page.text)
                if action == "/signin":
                    fields |= {key: PLAN[key] for key in ("tenant", "email", "password")}
                else:
                    SEEN["consent"] = page.text
                    fields["decision"] = PLAN.get("decision", "approve")
                page = await browser.post(urljoin(address, action), data=fields)

    async def came_back(self):
        SEEN["iss"] = self.answer.get("iss")
        if "error" in self.answer:
            raise RuntimeError(self.answer["error"][0])
        return self.answer["code"][0], self.answer["state"][0]


def provider_of(storage):
    person = Person()
    metadata = OAuthClientMetadata(
        client_name="Test <b>client</b>",
        redirect_uris=["http://127.0.0.1:33418/callback"],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
    )
    return OAuthClientProvider(PLAN["url"], metadata, storage, person.go, person.came_back)


async def call(provider):
    async with streamablehttp_client(PLAN["url"], auth=provider) as (read, write, _):
        async with ClientSession(read, write) as session:
            await session.initialize()
            tools = [tool.name for tool in (await session.list_tools()).tools]
            done = await session.call_tool(PLAN["tool"], PLAN["arguments"])
            return tools, done.model_dump(mode="json", by_alias=True, exclude_none=True)


def first(fault):
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault


async def main():
    storage = Kept()
    provider = provider_of(storage)
    try:
        SEEN["tools"], SEEN["done"] = await call(provider)
        SEEN["tokens"] = storage.tokens.model_dump()
        pages = len(SEEN["pages"])
        # As if the access token's time were over: the client renews it by itself and asks nobody.
        provider.context.token_expiry_time = 1
        _, SEEN["again"] = await call(provider)
        SEEN["renewed"] = storage.tokens.access_token != SEEN["tokens"]["access_token"]
        SEEN["asked_again"] = len(SEEN["pages"]) > pages
    except BaseException as fault:  # noqa: BLE001 - what ends it is what the test looks at
        SEEN["fault"] = repr(first(fault))
        SEEN["trace"] = traceback.format_exc()
    print(json.dumps(SEEN))


asyncio.run(main())
