"""How often something may be done: token buckets.

Time is an argument, in seconds of any clock that does not run backwards.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf

ACTIVE_SECONDS = 10.0
"""For which a group that asked of a `SharedBudget` counts as one that shares it."""


class TokenBucket:
    """`rate` a second in the long run, `burst` at once. Starts full."""

    __slots__ = ("_at", "_level", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._level = burst
        self._at = now

    def level(self, now: float) -> float:
        """What could be taken at `now`."""
        return min(self.burst, self._level + max(0.0, now - self._at) * self.rate)

    def take(self, now: float, count: float = 1.0) -> bool:
        """Take `count` if they are there; else take nothing and return False."""
        level = self._level
        if now > self._at:  # a clock that is given late never earns the same second twice
            level = min(self.burst, level + (now - self._at) * self.rate)
            self._at = now
        if level < count:
            self._level = level
            return False
        self._level = level - count
        return True

    def wait(self, now: float, count: float = 1.0) -> float:
        """Seconds until `count` can be taken; 0.0 if now, infinity if never."""
        missing = count - min(self.burst, self._level + max(0.0, now - self._at) * self.rate)
        if missing <= 0:
            return 0.0
        return missing / self.rate if self.rate > 0 and count <= self.burst else inf


class KeyedBuckets:
    """A bucket for each key, for at most `max_keys` keys: full buckets, then the longest unused, are forgotten."""

    def __init__(self, rate: float, burst: float, max_keys: int = 100_000) -> None:
        self._rate = rate
        self._burst = burst
        self._max_keys = max_keys
        self.buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        """Of the keys that were taken from lately: for any other there is nothing to wait for."""

    def __len__(self) -> int:
        return len(self.buckets)

    def take(self, key: str, now: float, count: float = 1.0) -> bool:
        """As `TokenBucket.take`, from the bucket of `key`."""
        buckets = self.buckets
        bucket = buckets.get(key)
        if bucket is None:
            bucket = buckets[key] = TokenBucket(self._rate, self._burst, now)
        buckets.move_to_end(key)
        taken = bucket.take(now, count)
        # Two a call: what is forgotten keeps pace with what is added, and no call is long.
        for _ in range(2):
            oldest = next(iter(buckets))
            if len(buckets) == 1 or (len(buckets) <= self._max_keys and buckets[oldest].level(now) < self._burst):
                break
            del buckets[oldest]
        return taken

    def wait(self, key: str, now: float, count: float = 1.0) -> float:
        """As `TokenBucket.wait`; looks without taking."""
        bucket = self.buckets.get(key)
        return 0.0 if bucket is None else bucket.wait(now, count)


class KeyedLimits:
    """Two limits on each key, a rate and a burst each: who takes, takes of both. Keys are kept and forgotten as in
    `KeyedBuckets`."""

    def __init__(self, one: tuple[float, float], other: tuple[float, float], max_keys: int = 100_000) -> None:
        self._one_rate, self._one_burst = one
        self._other_rate, self._other_burst = other
        self._max_keys = max_keys
        self._levels: OrderedDict[str, tuple[float, float, float]] = OrderedDict()
        """When it was taken from last, and what both had left then."""

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, key: str, now: float) -> float:
        """Take one of both: 0.0. Where one has none left take nothing: seconds until both have, infinity if never."""
        known = self._levels.get(key)
        at, one, other = (now, self._one_burst, self._other_burst) if known is None else known
        passed = now - at
        if passed > 0.0:
            at, one = now, min(self._one_burst, one + passed * self._one_rate)
            other = min(self._other_burst, other + passed * self._other_rate)
        if one < 1.0 or other < 1.0:
            limits = ((one, self._one_rate, self._one_burst), (other, self._other_rate, self._other_burst))
            short = [limit for limit in limits if limit[0] < 1.0]
            return max([(1.0 - level) / rate if rate > 0.0 and burst >= 1.0 else inf for level, rate, burst in short])
        self._levels[key] = (at, one - 1.0, other - 1.0)
        self._levels.move_to_end(key)
        if known is None:
            self._forget(now)
        return 0.0

    def put_back(self, key: str) -> None:
        """What was taken just now is not used."""
        at, one, other = self._levels[key]
        self._levels[key] = (at, min(self._one_burst, one + 1.0), min(self._other_burst, other + 1.0))

    def _forget(self, now: float) -> None:
        levels = self._levels
        for _ in range(2):
            oldest = next(iter(levels))
            at, one, other = levels[oldest]
            passed = now - at if now > at else 0.0
            is_full = (
                one + passed * self._one_rate >= self._one_burst
                and other + passed * self._other_rate >= self._other_burst
            )
            if len(levels) == 1 or (not is_full and len(levels) <= self._max_keys):
                break
            del levels[oldest]


class _Share:
    """What one group of a `SharedBudget` has left of its own, and what it took in this second and the one before."""

    __slots__ = ("at", "level", "second", "taken", "taken_before")

    def __init__(self, level: float, now: float) -> None:
        self.level = level
        self.at = now
        self.second = int(now)
        self.taken = self.taken_before = 0

    def claim(self) -> float:
        """What others leave to the group: as much as it is used to take, of what it may take."""
        return min(self.level, float(max(self.taken, self.taken_before)))


class SharedBudget:
    """`rate` a second, with a burst of one second's worth, shared by groups so that none can starve the others.

    Each group that asked lately has an equal share, which it always gets. Beyond its share a group gets what the others
    leave: what was not taken, less what they are used to take of their own shares.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._burst = max(1.0, rate)
        self._all = TokenBucket(rate, self._burst, now)
        self._shares: OrderedDict[str, _Share] = OrderedDict()

    def take(self, group: str, now: float) -> bool:
        """Take one if the group may have it; else take nothing and return False."""
        share = self._share_of(group, now)
        if share.level >= 1.0:
            share.level -= 1.0
        else:
            claimed = sum(other.claim() for other in self._shares.values() if other is not share)
            if self._all.level(now) - 1.0 < claimed:
                return False
            share.level = 0.0
        share.taken += 1
        if not self._all.take(now):
            self._all.take(now, self._all.level(now))
        return True

    def is_full(self, group: str, now: float) -> bool:
        """Whether the group has nothing left of its own, nor is there anything else."""
        return self._share_of(group, now).level < 1.0 and self._all.level(now) < 1.0

    def _share_of(self, group: str, now: float) -> _Share:
        shares = self._shares
        share = shares.get(group)
        if share is None:
            share = shares[group] = _Share(self._burst, now)
        passed = 0.0
        if now > share.at:
            passed, share.at = now - share.at, now
        if len(shares) > 1:
            shares.move_to_end(group)
            while next(iter(shares.values())).at < now - ACTIVE_SECONDS:
                shares.popitem(last=False)
        part = len(shares)
        share.level = min(max(1.0, self._burst / part), share.level + passed * self._rate / part)
        second = int(now)
        if second != share.second:
            share.taken_before = share.taken if second == share.second + 1 else 0
            share.taken, share.second = 0, second
        return share
