"""The first configuration that ``matapalo init`` writes."""

from __future__ import annotations

import json
from typing import Final

from config.loader import load_text

_HEAD: Final = """\
# yaml-language-server: $schema=matapalo.schema.json
# Every key: docs/configuration.md. `matapalo schema > matapalo.schema.json` lets editors help.

listen: 127.0.0.1:8080          # clients connect here; 0.0.0.0:8080 is every interface
admin: {listen: 127.0.0.1:8081} # flips, numbers, /metrics; on this machine only
health: {listen: 127.0.0.1:8082} # /livez and /readyz
state_dir: ./.matapalo          # flags, holds and evidence are kept here

backends:
"""

_WITH_NEW: Final = """
defaults:
  legacy: legacy
  new: new
  # What keeps a client on its side during canary; the first one present wins.
  sticky: ["header:X-User-Id", issued_cookie]

undeclared: {backend: legacy}   # what no route matches goes on as before

routes:
  # Legacy answers everything until you flip. `matapalo flip reads shadow` lets new answer
  # the same reads beside it, unseen by clients, and compares; give busy paths a route of their own.
  - name: reads
    match: {path: "/**", methods: [GET, HEAD]}
    initial_stage: legacy
    shadow: {max_per_second: 50} # copies per second and worker; `off` lifts it
"""

_WITHOUT_NEW: Final = """
defaults:
  legacy: legacy
  # What keeps a client on its side during canary; the first one present wins.
  sticky: ["header:X-User-Id", issued_cookie]

undeclared: {backend: legacy}   # what no route matches goes on as before

# When the first rewritten path runs, name its backend above and its route here:
#
# routes:
#   - name: orders
#     match: {path: "/api/orders/{id:int}", methods: [GET, HEAD]}
#     new: new
#     initial_stage: shadow
routes: []
"""


def starter(legacy: str, new: str | None = None) -> str:
    """Write a first configuration for a legacy service, and its replacement where there is one.

    Shape: YAML with comments that loads as it stands.
    Raises: ConfigError when a URL cannot be a backend's, or both lead to the same place.
    """
    # JSON's quoting is YAML's double quoting; a dollar sign would begin a variable.
    urls = {"legacy": legacy, **({"new": new} if new is not None else {})}
    lines = [f"  {name}: {{url: {json.dumps(url.replace('$', '$$'))}}}\n" for name, url in urls.items()]
    text = _HEAD + "".join(lines) + (_WITH_NEW if new is not None else _WITHOUT_NEW)
    load_text(text, environ={})
    return text
