"""Checks A3 and A4 of the wire contract with the unmodified imperal-sdk: one `ImperalAuth` object that verifies a
fresh token over and over while the signing key is replaced.

Arguments: gateway URL, tenant, e-mail, password. Prints a line of JSON when it has begun and one at the end, which
comes when standard input is closed."""
import json
import select
import sys
import time

import httpx
from imperal_sdk.auth.client import ImperalAuth
from jwt import get_unverified_header

gateway, tenant, email, password = sys.argv[1:5]
auth = ImperalAuth(gateway)


def sign_in():
    who = {"email": email, "password": password, "tenant_id": tenant}
    answer = httpx.post(f"{gateway}/v1/auth/login", json=who)
    answer.raise_for_status()
    return answer.json()


def refresh(token):
    return httpx.post(f"{gateway}/v1/auth/refresh", json={"refresh_token": token})


def kid(token):
    return get_unverified_header(token)["kid"]


def verifies(token):
    try:
        return auth.verify(token).tenant_id == tenant and None
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"


first = sign_in()["access_token"]
kids, failed, verified, after = [kid(first)], [], 0, 0
session = sign_in()
print(json.dumps({"kid": kids[0], "failed": verifies(first)}), flush=True)
deadline = time.monotonic() + 60
# Until nobody asks for more, and for some time with the new key, however slow the machine is.
while (not select.select([sys.stdin], [], [], 0)[0] or after < 10) and time.monotonic() < deadline:
    # What a service does all day: a new token of the same session, and the first one as long as it lives.
    session = refresh(session["refresh_token"]).json()
    for token in (session["access_token"], first):
        fault, verified = verifies(token), verified + 1
        if fault:
            failed.append(fault)
    if kid(session["access_token"]) not in kids:
        kids.append(kid(session["access_token"]))
    after += len(kids) > 1
    time.sleep(0.05)
spent = session["refresh_token"]
refreshed, again = refresh(spent).status_code, refresh(spent).status_code
print(json.dumps({"kids": kids, "failed": failed, "verified": verified, "after": after, "first": verifies(first),
                  "refreshed": refreshed, "again": again}), flush=True)
