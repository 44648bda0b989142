"""How much is measured."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Sizes:
    runs: int
    slices: int  # of a run, in which the sides take turns
    requests: int  # that are measured, a side and a run
    warm_up: int
    peer_requests: int
    peer_warm_up: int
    peer: bool
    few: int  # clients in the smallest database
    many: int
    million: int  # clients in the largest database, 0 for none
    latency_seconds: float
    latency_runs: int
    starts: int
    tokens_seen: int  # that are checked in turn
    tokens: int  # after which memory is looked at
    overload_seconds: float
    idle: int  # connections that lie idle

    def with_changes(self, **changes):
        return dataclasses.replace(self, **{name: value for name, value in changes.items() if value is not None})


FULL = Sizes(runs=5, slices=100, requests=50_000, warm_up=5_000, peer_requests=8_000, peer_warm_up=3_000, peer=True,
             few=10, many=100_000, million=1_000_000, latency_seconds=10, latency_runs=3, starts=5, tokens_seen=40_000, tokens=1_000_000,
             overload_seconds=60, idle=10_000)
QUICK = Sizes(runs=1, slices=10, requests=4_000, warm_up=500, peer_requests=0, peer_warm_up=0, peer=False,
              few=10, many=10_000, million=0, latency_seconds=2, latency_runs=1, starts=1, tokens_seen=300, tokens=20_000,
              overload_seconds=2, idle=1_000)

CONNECTIONS = 32
