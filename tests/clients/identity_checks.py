"""Checks A1 and A2 of the wire contract with an unmodified imperal-sdk of any age.

Arguments: gateway URL, access token. Prints one JSON object a check."""
import asyncio
import json
import sys

import httpx
import jwt
from imperal_sdk.auth.client import AuthError, ImperalAuth
from imperal_sdk.types.identity import User

gateway, token = sys.argv[1:3]


def report(check, **facts):
    print(json.dumps({"check": check, **facts}))


def a1_the_sdk_verifies_our_token():
    auth = ImperalAuth(gateway)
    user, header = auth.verify(token), jwt.get_unverified_header(token)
    published = httpx.get(f"{gateway}/v1/auth/.well-known/jwks.json").json()["keys"]
    claims = jwt.decode(token, options={"verify_signature": False})
    head, body, signature = token.split(".")
    refused = {}
    for name, forged in {
        "other signature": f"{head}.{body}.{signature[4:]}AAAA",
        "no signature": f"{head}.{body}.",
        "other claims": f"{head}.{body[:-4]}AAAA.{signature}",
    }.items():
        try:
            auth.verify(forged)
            refused[name] = "accepted"
        except AuthError:
            refused[name] = "AuthError"
    report("A1", imperal_id=user.imperal_id, tenant_id=user.tenant_id, role=user.role, scopes=list(user.scopes),
           alg=header["alg"], published=header["kid"] in [key["kid"] for key in published], aud="aud" in claims,
           has=[user.has_scope("notes:read"), user.has_scope("mail:send")], refused=refused)


async def a2_me_is_an_sdk_user():
    # What the SDK itself asks for, and its own type, which takes no member that it does not know.
    user = User(**await ImperalAuth(gateway).get_user_info(token))
    report("A2", imperal_id=user.imperal_id, tenant_id=user.tenant_id, role=user.role, scopes=list(user.scopes),
           active=user.is_active)
    try:
        await ImperalAuth(gateway).get_user_info(f"{token}x")
    except httpx.HTTPStatusError as refused:
        report("A2 forged", status=refused.response.status_code)


a1_the_sdk_verifies_our_token()
asyncio.run(a2_me_is_an_sdk_user())
