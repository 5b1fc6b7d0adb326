"""Ten waits of half a second, all at once: an async function holds no thread."""

import asyncio
import time


async def fetch(number: int) -> str:
    await asyncio.sleep(0.5)  # imagine another server
    return f"answer {number}"


async def run(request, count: int = 10):
    begun = time.perf_counter()
    answers = await asyncio.gather(*(fetch(number) for number in range(count)))
    return {"answers": answers, "seconds": round(time.perf_counter() - begun, 2)}
