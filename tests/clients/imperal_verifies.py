"""Whether the unmodified imperal-sdk, as a service that trusts a gateway's keys uses it, takes an access token.

Arguments: gateway URL, access token. Prints one JSON object."""
import json
import sys

from imperal_sdk.auth import ImperalAuth
from imperal_sdk.auth.client import AuthError

gateway, token = sys.argv[1:3]
try:
    user = ImperalAuth(gateway).verify(token)
    print(json.dumps({"accepted": True, "user": user.imperal_id, "role": user.role}))
except AuthError as refused:
    print(json.dumps({"accepted": False, "why": str(refused)}))
