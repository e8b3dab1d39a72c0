"""How often something may be done: token buckets.

Time is an argument, in seconds of any clock that does not run backwards.
"""

from __future__ import annotations

from collections import OrderedDict


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
        missing = count - self.level(now)
        if missing <= 0:
            return 0.0
        return missing / self.rate if self.rate > 0 and count <= self.burst else float("inf")


class KeyedBuckets:
    """A bucket for each key, for at most `max_keys` keys: full buckets, then the longest unused, are forgotten."""

    def __init__(self, rate: float, burst: float, max_keys: int = 100_000) -> None:
        self._rate = rate
        self._burst = burst
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now: float, count: float = 1.0) -> bool:
        """As `TokenBucket.take`, from the bucket of `key`."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate, self._burst, now)
        self._buckets.move_to_end(key)
        taken = bucket.take(now, count)
        self._forget(now)
        return taken

    def wait(self, key: str, now: float, count: float = 1.0) -> float:
        """As `TokenBucket.wait`; looks without taking."""
        bucket = self._buckets.get(key)
        return 0.0 if bucket is None else bucket.wait(now, count)

    def _forget(self, now: float) -> None:
        # Two a call: what is forgotten keeps pace with what is added, and no call is long.
        for _ in range(2):
            oldest = next(iter(self._buckets))
            if len(self._buckets) <= self._max_keys and self._buckets[oldest].level(now) < self._burst:
                return
            if len(self._buckets) == 1:
                return
            del self._buckets[oldest]
