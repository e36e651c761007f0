"""Checks A13 and A14 of the wire contract, and the skeleton, with the unmodified imperal-sdk.

Arguments: gateway URL, secret of call tokens, id of the user, id of another user. Prints one JSON object a check."""
import asyncio
import json
import sys

import httpx
from pydantic import BaseModel

from imperal_sdk import Extension
from imperal_sdk.cache.client import CacheClient
from imperal_sdk.security import mint_call_token
from imperal_sdk.skeleton.client import SkeletonClient

gateway, secret, user, other_user = sys.argv[1:5]

ext = Extension("notes")


@ext.cache_model("Weather")
class Weather(BaseModel):
    city: str
    degrees: float


def token(app="notes", of=user, kind="chat_fn", ttl=60, by=secret):
    return mint_call_token(kind, app, of, ttl, by.encode())


class Minting(CacheClient):
    """As a host does it: a token for each request."""

    def _headers(self):
        self._call_token = token()
        return super()._headers()


def client(of=CacheClient, user_id=user, call_token=""):
    return of(app_id="notes", user_id=user_id, gw_url=gateway, call_token=call_token, extension=ext)


def report(check, **facts):
    print(json.dumps({"check": check, **facts}))


async def status(call):
    try:
        return await call and 200
    except httpx.HTTPStatusError as error:
        return error.response.status_code


async def a13_values_come_back():
    c, oslo = client(Minting), Weather(city="Oslo", degrees=-3.5)
    nothing = await c.get("oslo", Weather)
    await c.set("oslo", oslo, ttl_seconds=5)
    back = await c.get("oslo", Weather)
    fetched = []

    async def fetch():
        fetched.append(1)
        return Weather(city="Rome", degrees=20)

    for _ in range(2):
        rome = await c.get_or_fetch("rome", Weather, fetch)
    await c.delete("rome")
    gone = await c.get("rome", Weather)
    await asyncio.sleep(5.5)
    late = await c.get("oslo", Weather)
    report("A13", nothing=nothing, back=back == oslo, fetched=len(fetched), rome=rome.city, gone=gone, late=late)


async def a14_once():
    c = client(call_token=token())
    first = await c.get("oslo", Weather)
    report("A14", first=first, second=await status(c.get("oslo", Weather)))


async def nobody_else():
    wrong = {
        "other_app": token(app="bank"),
        "other_user": token(of=other_user),
        "other_secret": token(by="another secret"),
        "expired": token(ttl=-1),
    }
    report("wrong", **{name: await status(client(call_token=t).get("oslo", Weather)) for name, t in wrong.items()})


async def skeleton():
    async def section(kind):
        reader = SkeletonClient(gateway, extension_id="notes", user_id=user, call_token=token(kind=kind))
        return await reader.get("overview")

    there = await section("skeleton")
    try:
        other_kind = await section("chat_fn")
    except httpx.HTTPStatusError as error:
        other_kind = error.response.status_code
    report("skeleton", there=there, other_kind=other_kind)


async def main():
    await a13_values_come_back()
    await a14_once()
    await nobody_else()
    await skeleton()


asyncio.run(main())
