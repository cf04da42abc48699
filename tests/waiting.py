"""Wait for what another process or thread does"""
import time


def until(true, seconds=60):
    "Wait for something that must come; a net, not a measure"
    for _ in range(seconds * 20):
        if found := true(): return found
        time.sleep(0.05)
    raise AssertionError("it did not come")
