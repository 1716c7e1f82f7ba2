"""What changes in a request on its way to one backend: host, path and headers."""

from __future__ import annotations

from config.spec import BackendSpec


class Target:
    """Compile one backend's policy for hosts, paths and headers.

    Shape: ``plain`` is true if a head needs no change for this backend, so a
    copy can be made from the primary's bytes.
    """

    __slots__ = ("add", "host", "name", "plain", "remove", "set_lines", "strip")

    def __init__(self, spec: BackendSpec, stripped: tuple[bytes, ...] = ()) -> None:
        """Compile *spec*; *stripped* are lower-case header names that no backend may see."""
        self.name = spec.name
        authority = f"[{spec.host}]" if ":" in spec.host else spec.host
        if spec.port != (443 if spec.scheme == "https" else 80):
            authority = f"{authority}:{spec.port}"
        self.host: bytes | None
        if spec.host_header == "preserve":
            self.host = None
        else:
            self.host = (authority if spec.host_header == "backend" else spec.host_header).encode("latin-1")
        self.strip = spec.path_strip.encode().rstrip(b"/")
        self.add = spec.path_add.encode().rstrip(b"/")
        self.set_lines = [f"{name}: {value}".encode("latin-1") for name, value in spec.headers_set]
        self.remove = frozenset(
            [name.lower().encode() for name in spec.headers_remove]
            + [name.lower().encode() for name, _ in spec.headers_set]
            + list(stripped)
        )
        self.plain = not (self.host or self.strip or self.add or self.set_lines or self.remove)

    def path(self, target: bytes) -> bytes:
        """Rewrite a raw target: strip at a segment boundary, then add."""
        strip = self.strip
        if strip and target.startswith(strip) and target[len(strip) : len(strip) + 1] in (b"", b"/", b"?"):
            target = target[len(strip) :]
            if target[:1] != b"/":
                target = b"/" + target
        return self.add + target if self.add and target != b"*" else target
