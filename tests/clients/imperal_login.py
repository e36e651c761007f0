"""Signs in with the device login of the unmodified imperal-mcp, as its command line does.

Usage: imperal_login.py URL. HOME must be a folder of its own: the credentials are kept there. Prints one JSON object a
line: what the person is shown, then how it ended.
"""

import asyncio
import json
import sys
from types import SimpleNamespace

from imperal_mcp import auth


def say(**what):
    print(json.dumps(what), flush=True)


async def main():
    cfg = SimpleNamespace(api_url=sys.argv[1])

    def prompt(user_code, uri, complete):
        say(user_code=user_code, uri=uri, complete=complete)

    try:
        email = await auth.login_device(cfg, on_prompt=prompt, open_browser=False)
    except RuntimeError as refused:
        say(refused=str(refused))
        return
    first = auth.load_creds()
    second = await auth.ensure_access_token(cfg, force=True)
    await auth.logout(cfg)
    say(email=email, token=first["access_token"], refreshed=second != first["access_token"], kept=auth.creds_path().exists())


asyncio.run(main())
