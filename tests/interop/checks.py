"""Counting what passed, and waiting for what must come."""

import asyncio
import os
import time
import traceback

PATIENCE = float(os.environ.get("INTEROP_PATIENCE", "20"))
"""Seconds until something that has not happened counts as never happening."""


class Failure(Exception):
    """What was expected did not happen; the text says what did."""


class Checks:
    """Prints a line for each check and knows the sum."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self.skipped = 0

    def passes(self, name: str) -> None:
        self.passed += 1
        print(f"PASS {name}", flush=True)

    def fails(self, name: str, reason: object) -> None:
        self.failed += 1
        print(f"FAIL {name}: {reason}", flush=True)

    def skips(self, name: str, reason: str) -> None:
        self.skipped += 1
        print(f"SKIP {name}: {reason}", flush=True)

    def expect(self, name: str, good: bool, reason: object = "not so") -> bool:
        if good:
            self.passes(name)
        else:
            self.fails(name, reason)
        return good

    async def run(self, name: str, check) -> None:
        """Awaits `check` and files its outcome under `name`."""
        try:
            async with asyncio.timeout(3 * PATIENCE):
                await check
        except Failure as failure:
            self.fails(name, failure)
        except TimeoutError:
            self.fails(name, "took too long:\n" + traceback.format_exc(limit=-3))
        except Exception:  # A client library may raise anything; the other checks go on.
            self.fails(name, traceback.format_exc(limit=-4))
        else:
            self.passes(name)


def require(good: object, reason: object) -> None:
    if not good:
        raise Failure(reason)


async def eventually(condition, what: str, patience: float = PATIENCE):
    """Waits until `condition()` is true and returns its value."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Failure(f"after {patience:g} s still waiting for {what}")
        await asyncio.sleep(0.01)
    return value
