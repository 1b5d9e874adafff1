"""The part of an API server that elections for many leases use, scripted: versions, conflicts, annotations, watches."""

import asyncio

from unit.kube.scripted import Scripted, bookmark, page, status

PATH = "/apis/coordination.k8s.io/v1/namespaces/sys/leases"


class Leases(Scripted):
    """`stuck` names the callers (by their token) whose watches stay silent."""

    def __init__(self):
        super().__init__()
        self.leases = {}
        self.version = 10
        self.stuck: set[str] = set()
        self.watchers: list[tuple[str, str, asyncio.Queue]] = []
        self.on("GET", self._get)
        self.on("POST", self._post)
        self.on("PATCH", self._patch)
        self.on("WATCH", self._watch)

    def holder(self, name):
        """Who holds the lease, "" for nobody."""
        return self.leases.get(name, {"spec": {}})["spec"].get("holderIdentity") or ""

    def note(self, name, key):
        """An annotation, "" where there is none."""
        return self.leases.get(name, {"metadata": {"annotations": {}}})["metadata"]["annotations"].get(key, "")

    def put(self, name, spec, annotations=()):
        """Write a lease, as a process that the test plays."""
        kind = "MODIFIED" if name in self.leases else "ADDED"
        self.version += 1
        metadata = {"name": name, "namespace": "sys", "uid": name, "resourceVersion": str(self.version)}
        self.leases[name] = {"metadata": metadata | {"annotations": dict(annotations)}, "spec": dict(spec)}
        for caller, watched, queue in self.watchers:
            if watched == name and caller not in self.stuck:
                queue.put_nowait({"type": kind, "object": self.leases[name]})
        return self.leases[name]

    async def _get(self, request):
        if request.path == PATH:
            name = request.query["fieldSelector"].removeprefix("metadata.name=")
            await request.answer(200, page(self.version, *([self.leases[name]] if name in self.leases else [])))
            return
        found = self.leases.get(request.path.rpartition("/")[2])
        await request.answer(*((404, status(404, "NotFound")) if found is None else (200, found)))

    async def _post(self, request):
        metadata = request.json["metadata"]
        if metadata["name"] in self.leases:
            await request.answer(409, status(409, "AlreadyExists"))
            return
        await request.answer(201, self.put(metadata["name"], request.json["spec"], metadata.get("annotations", {})))

    async def _patch(self, request):
        name, patch = request.path.rpartition("/")[2], request.json
        present = self.leases.get(name)
        if present is None:
            await request.answer(404, status(404, "NotFound"))
        elif patch["metadata"]["resourceVersion"] != present["metadata"]["resourceVersion"]:
            await request.answer(409, status(409, "Conflict"))
        else:
            notes = present["metadata"]["annotations"] | patch["metadata"].get("annotations", {})
            notes = {key: text for key, text in notes.items() if text is not None}
            await request.answer(200, self.put(name, present["spec"] | patch.get("spec", {}), notes))

    async def _watch(self, request):
        queue = asyncio.Queue()
        caller = request.headers.get("authorization", "")[-1:]
        name = request.query["fieldSelector"].removeprefix("metadata.name=")
        self.watchers.append((caller, name, queue))
        await request.open_stream()
        await request.line(bookmark(self.version))
        while True:
            await request.line(await queue.get())
