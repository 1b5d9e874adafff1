"""The part of an API server that elections use, scripted: versions, conflicts, watches, and failures."""

import asyncio
import json

from unit.kube.scripted import Scripted, bookmark, page, status

PATH = "/apis/coordination.k8s.io/v1/namespaces/sys/leases"


class LeaseApi(Scripted):
    """`hanging` and `down` name the callers (by their token) that get no answer, or a cut connection; "*" is all."""

    def __init__(self):
        super().__init__()
        self.lease = None
        self.version = 10
        self.hanging: set[str] = set()
        self.down: set[str] = set()
        self.blind: set[str] = set()  # their watches stay silent
        self.writes = []
        self._watchers: list[tuple[str, asyncio.Queue]] = []
        self.on("GET", self._get)
        self.on("POST", self._post)
        self.on("PATCH", self._patch)
        self.on("WATCH", self._watch)

    @property
    def holder(self):
        return self.lease["spec"].get("holderIdentity") if self.lease else None

    async def _route(self, request):
        caller = request.headers.get("authorization", "")[-1:]
        if {caller, "*"} & self.down:
            request.cut()
            return
        while {caller, "*"} & self.hanging:  # noqa: ASYNC110 - a test sets it at any time
            await asyncio.sleep(0.01)
        await super()._route(request)

    async def _get(self, request):
        if request.path == PATH:
            await request.answer(200, page(self.version, *([self.lease] if self.lease else [])))
        elif self.lease is None:
            await request.answer(404, status(404, "NotFound"))
        else:
            await request.answer(200, self.lease)

    async def _post(self, request):
        if self.lease is not None:
            await request.answer(409, status(409, "AlreadyExists"))
            return
        self.put(request.json["spec"])
        await request.answer(201, self.lease)

    async def _patch(self, request):
        patch = request.json
        if self.lease is None:
            await request.answer(404, status(404, "NotFound"))
        elif patch["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            await request.answer(409, status(409, "Conflict"))
        else:
            self.put(patch["spec"])
            await request.answer(200, self.lease)

    def put(self, spec, **annotations):
        kind = "MODIFIED" if self.lease else "ADDED"
        self.version += 1
        self.lease = {
            "metadata": {
                "name": "ganger",
                "namespace": "sys",
                "uid": "u",
                "resourceVersion": str(self.version),
                "annotations": annotations,
            },
            "spec": json.loads(json.dumps(spec)),
        }
        self.writes.append(self.lease["spec"])
        self._tell({"type": kind, "object": self.lease})

    def delete(self):
        self.version += 1
        gone = self.lease
        gone["metadata"]["resourceVersion"] = str(self.version)
        self.lease = None
        self._tell({"type": "DELETED", "object": gone})

    def _tell(self, event):
        for caller, queue in self._watchers:
            if caller not in self.blind:
                queue.put_nowait(event)

    async def _watch(self, request):
        queue = asyncio.Queue()
        self._watchers.append((request.headers.get("authorization", "")[-1:], queue))
        await request.open_stream()
        await request.line(bookmark(self.version))
        while True:
            await request.line(await queue.get())
