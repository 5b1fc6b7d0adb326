// node call.mjs [URL [TEXT]]
import { readFile } from "node:fs/promises";
import { pipeline } from "node:stream/promises";

const [url = "http://localhost:9876", text = "owt"] = process.argv.slice(2);
const code = await readFile(new URL("morse.py", import.meta.url), "utf8");
const answer = await fetch(url, { method: "POST", body: new URLSearchParams({ code, text }) });
if (!answer.ok) throw new Error(await answer.text());
await pipeline(answer.body, process.stdout);
