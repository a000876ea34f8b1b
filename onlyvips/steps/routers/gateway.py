"""``gateway-api``: weights of backends in the service's rule of a shared HTTPRoute."""

from __future__ import annotations

from collections.abc import Sequence

from onlyvips.core import httproute
from onlyvips.core.affinity import Keeping, as_wanted, keeps, refusal
from onlyvips.core.plan import RouteRef
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports import Cluster, Manifest
from onlyvips.ports.router import Patch, Share

_KIND = "HTTPRoute"


class GatewayRouter:
    """Service ``canary`` beside Service ``stable`` in one rule, and rules beside it for those whom ``keep`` says: see
    ``ports.router.Router``."""

    def __init__(
        self, cluster: Cluster, route: RouteRef, stable: str, canary: str, keep: Keeping | None = None
    ) -> None:
        self._cluster, self._route, self._names, self._keep = cluster, route, (stable, canary), keep

    def read(self) -> Share | None:
        """See ``ports.router.Router``."""
        if (route := self._cluster.get(_KIND, self._route.name)) is None:
            return None
        try:
            index = httproute.rule_index(route, self._route.rule, *self._names)
        except Refused:
            return None  # more than one could be meant: as good as none, until a person names it
        if index is None:
            return None
        canary, here = self._names[1], (route, index, *self._names)
        return Share(
            weight := httproute.canary_weight(route, index, canary),
            httproute.lists(route, index, canary),
            httproute.shape(*here),
            sticky=keeps(*here),
            strayed=not as_wanted(*here, weight, self._keep),
            refused=refusal(route) if self._keep else "",
        )

    def shift(self, patch: Patch, weight: int, expected: int | None) -> str:
        """See ``ports.router.Router``."""

        def change(route: Manifest) -> Sequence[Manifest]:
            index = self._rule(route)
            found = httproute.canary_weight(route, index, self._names[1])
            if httproute.is_weighed(route, index, *self._names, weight, self._keep):
                return ()
            if expected is not None and weight > found != expected:
                raise Transient(f"The route shows {found} % for the canary by now: nothing was written, decided anew.")
            return httproute.weigh(route, index, *self._names, weight, self._keep)

        patch(_KIND, self._route.name, change)
        read = self._cluster.get(_KIND, self._route.name)
        if read is None:
            raise Permanent(f"HTTPRoute {self._route.name} is gone: somebody removed it in the middle of the release.")
        shown = httproute.canary_weight(read, index := self._rule(read), self._names[1])
        if not httproute.is_weighed(read, index, *self._names, weight, self._keep):
            raise Transient(f"HTTPRoute {self._route.name} was set to {weight} % and reads {shown} %, or keeps others.")
        kept = " and keeps users to their version" if self._keep and keeps(read, index, *self._names) else ""
        return f"the route shows {weight} % for the canary{kept}"

    def forget(self, patch: Patch) -> None:
        """See ``ports.router.Router``."""
        patch(_KIND, self._route.name, lambda route: httproute.forget(route, self._rule(route), *self._names))

    def _rule(self, route: Manifest) -> int:
        index = httproute.rule_index(route, self._route.rule, *self._names)
        if index is None:
            raise Permanent(
                f"HTTPRoute {route['metadata']['name']} has no rule {self._route.rule} any more: put it back."
            )
        return index
