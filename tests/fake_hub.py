"""A Hugging Face hub on loopback: listing, redirects to another host, ranges, ETags, and faults as told.

`python tests/fake_hub.py FOLDER` serves each OWNER/NAME below FOLDER, slowly, for a try by hand.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

# What a person at a slow line has, bytes a second.
BY_HAND_RATE = 8_000_000


@dataclass
class FakeRepo:
    """The files of one revision."""

    files: dict[str, bytes]
    commit: str
    is_gated: bool = False
    # Names that the listing has besides.
    listed: tuple[str, ...] = ()
    # Sizes that the listing claims.
    claimed: dict[str, int] = field(default_factory=dict)


@dataclass
class Seen:
    """A request that came."""

    server: str
    path: str
    authorization: str | None
    range: str | None


class FakeHub:
    """The hub, and the host that its large files are at."""

    def __init__(self, *, chunk_bytes: int = 65536, pause_s: float = 0.0) -> None:
        self.url = ""
        self.repos: dict[tuple[str, str], FakeRepo] = {}
        # File name -> what goes wrong with its next requests: "cut", "reset", 503, "wrong", "long", "short",
        # "whole" (ignores the range), "stall".
        self.faults: defaultdict[str, list[str | int]] = defaultdict(list)
        self.seen: list[Seen] = []
        self.token = ""
        self.chunk_bytes = chunk_bytes
        self.pause_s = pause_s
        # Set when a stalled response has begun.
        self.stalled = asyncio.Event()
        self._cdn_url = ""
        self._runners: list[web.AppRunner] = []

    def add(self, repo: str, files: dict[str, bytes], *, revision: str = "main") -> FakeRepo:
        """Have a repository, or another revision of one."""
        digest = hashlib.sha1(
            repr((repo, revision, sorted(files.items()))).encode(), usedforsecurity=False
        ).hexdigest()
        made = FakeRepo(files, digest)
        self.repos[repo, revision] = self.repos[repo, digest] = made
        return made

    def served(self, name: str) -> list[Seen]:
        """Requests for the content of a file."""
        return [seen for seen in self.seen if seen.path.endswith(name) and "/api/" not in seen.path]

    async def __aenter__(self) -> FakeHub:
        self.url = await self._start("hub", self._hub)
        self._cdn_url = await self._start("cdn", self._cdn)
        return self

    async def __aexit__(self, *_: object) -> None:
        for runner in self._runners:
            await runner.cleanup()

    async def _start(self, name: str, handler: object) -> str:
        async def note(request: web.Request) -> web.StreamResponse:
            headers = request.headers
            self.seen.append(Seen(name, request.path, headers.get("Authorization"), headers.get("Range")))
            return await handler(request)  # type: ignore[operator,no-any-return]

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", note)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _hub(self, request: web.Request) -> web.StreamResponse:
        path = request.path.strip("/")
        if path.startswith("api/models/"):
            repo, _, revision = path.removeprefix("api/models/").partition("/revision/")
            return self._listing(request, repo, revision or "main")
        repo, _, rest = path.partition("/resolve/")
        revision, _, name = rest.partition("/")
        found = self.repos.get((repo, revision))
        if found is None or name not in found.files:
            return _error(404, "EntryNotFound")
        if refusal := self._refusal(request, found):
            return refusal
        fault = self.faults[name][0] if self.faults[name] else None
        if isinstance(fault, int):
            self.faults[name].pop(0)
            return web.Response(status=fault, headers={"Retry-After": "0"} if fault == 429 else {})
        if _is_large(name):
            digest = hashlib.sha256(found.files[name]).hexdigest()
            return web.Response(
                status=302,
                headers={
                    "Location": f"{self._cdn_url}/{repo}/{revision}/{name}",
                    "X-Repo-Commit": found.commit,
                    "X-Linked-Size": str(len(found.files[name])),
                    "X-Linked-ETag": f'"{digest}"',
                },
            )
        return await self._send(request, found, name)

    async def _cdn(self, request: web.Request) -> web.StreamResponse:
        owner, name, revision, file = request.path.strip("/").split("/")
        return await self._send(request, self.repos[f"{owner}/{name}", revision], file)

    def _listing(self, request: web.Request, repo: str, revision: str) -> web.StreamResponse:
        fault = self.faults["listing"].pop(0) if self.faults["listing"] else None
        if isinstance(fault, int):
            return web.Response(status=fault)
        found = self.repos.get((repo, revision))
        if found is None:
            is_known = any(name == repo for name, _ in self.repos)
            return _error(404, "RevisionNotFound") if is_known else _error(404, "RepoNotFound")
        if refusal := self._refusal(request, found):
            return refusal
        siblings = [_sibling(name, content, found) for name, content in found.files.items()]
        siblings += [{"rfilename": name, "size": 1, "blobId": "0" * 40} for name in found.listed]
        return web.json_response({"id": repo, "modelId": repo, "sha": found.commit, "siblings": siblings})

    def _refusal(self, request: web.Request, repo: FakeRepo) -> web.Response | None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if given and given != self.token:
            return _error(401, "", "Invalid credentials in Authorization header")
        return _error(403, "GatedRepo") if repo.is_gated and not given else None

    async def _send(self, request: web.Request, repo: FakeRepo, name: str) -> web.StreamResponse:
        content = repo.files[name]
        fault = self.faults[name].pop(0) if self.faults[name] else None
        if fault == "wrong":
            content = bytes(byte ^ 1 for byte in content)
        elif fault == "long":
            content += b"x" * 100_000
        elif fault == "short":
            content = content[: len(content) // 2]
        start = 0
        if fault != "whole" and (asked := request.headers.get("Range")):
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            if start >= len(content):
                return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(content) - start
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        await response.prepare(request)
        half = start + (len(content) - start) // 2
        for at in range(start, len(content), self.chunk_bytes):
            if fault in ("cut", "stall", "reset") and at >= half:
                await self._break(request, str(fault))
                return response
            try:
                await response.write(content[at : at + self.chunk_bytes])
            except ConnectionResetError:  # It was killed, or has seen enough.
                break
            await asyncio.sleep(self.pause_s)
        return response

    async def _break(self, request: web.Request, how: str) -> None:
        if how == "stall":
            self.stalled.set()
            await asyncio.Event().wait()
        assert request.transport
        if how == "cut":
            request.transport.close()
        else:
            request.transport.abort()


def git_blob(content: bytes) -> str:
    """The id that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".gguf"))


def _sibling(name: str, content: bytes, repo: FakeRepo) -> dict[str, object]:
    size = repo.claimed.get(name, len(content))
    if not _is_large(name):
        return {"rfilename": name, "size": size, "blobId": git_blob(content)}
    digest = hashlib.sha256(content).hexdigest()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
        digest.encode(),
        size,
    )
    lfs = {"sha256": digest, "size": size, "pointerSize": len(pointer)}
    return {"rfilename": name, "size": size, "blobId": git_blob(pointer), "lfs": lfs}


def _error(status: int, code: str, message: str = "") -> web.Response:
    return web.Response(status=status, headers={"X-Error-Code": code, "X-Error-Message": message or code})


async def _serve_by_hand(root: Path) -> None:
    async with FakeHub(chunk_bytes=BY_HAND_RATE // 20, pause_s=0.05) as hub:
        for folder in sorted(root.glob("*/*")):
            files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
            hub.add(f"{folder.parent.name}/{folder.name}", files)
        print(f"HF_ENDPOINT={hub.url}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve_by_hand(Path(sys.argv[1])))
