// A registry from its first profile to a device that leaves, through a client made from the OpenAPI document.
//
// tutorial.js SERVER TOKEN

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type ImportEvent = components["schemas"]["ImportEvent"];
type Problem = components["schemas"]["Problem"];

const [server, token] = process.argv.slice(2);
assert(server !== undefined && token !== undefined);
const client = (bearer: string) =>
  createClient<paths>({ baseUrl: `${server}/api/muster/v1`, headers: { Authorization: `Bearer ${bearer}` } });
const muster = client(token);
const wire = (path: string, body: unknown) =>
  fetch(`${server}${path}`, { method: "POST", body: JSON.stringify(body) });

/** The answer, where the call was carried out. */
function done<T>(answer: { data?: T; error?: Problem }): T {
  assert(answer.data !== undefined, JSON.stringify(answer.error));
  return answer.data;
}

const me = done(await muster.GET("/whoami"));
assert.equal(me.role, "admin");

const made = done(
  await muster.POST("/profiles", { body: { name: "pumps", strategy: "check-pre-provisioned" } }),
);

// Devices are expected, one by one or as a file.
const added = done(await muster.POST("/devices", { body: { name: "pump-1", profile: "pumps", label: "hall" } }));
assert.deepEqual([added.state, added.label], ["expected", "hall"]);
const twice = await muster.POST("/devices", { body: { name: "pump-1", profile: "pumps" } });
assert.deepEqual([twice.error?.status, twice.error?.code], [409, "device-exists"]);
const imported = await muster.POST("/devices:import", {
  body: "name,type\npump-2,pumps\npump-3,pumps\npump-4,unknown\n",
  bodySerializer: (body) => body,
  headers: { "Content-Type": "text/csv" },
  parseAs: "text",
});
const lines = String(imported.data).trim().split("\n").map((line) => JSON.parse(line) as ImportEvent);
const results = lines.map((line) => (line.type === "row" ? line.result : line.created));
assert.deepEqual(results, ["created", "created", "error", 2]);

// A page at a time.
const names: string[] = [];
let cursor: string | undefined;
let pages = 0;
do {
  const page = done(await muster.GET("/devices", { params: { query: { profile: "pumps", limit: 2, cursor } } }));
  names.push(...page.items.map((device) => device.name));
  cursor = page.next;
  pages += 1;
} while (cursor !== undefined);
assert.deepEqual([names, pages], [["pump-1", "pump-2", "pump-3"], 2]);

// The device asks over its own wire, and shows what it was given.
const asked = {
  deviceName: "pump-1",
  provisionDeviceKey: made.provision_key,
  provisionDeviceSecret: made.provision_secret,
};
const granted = (await (await wire("/api/v1/provision", asked)).json()) as Record<string, string>;
assert.equal(granted["status"], "SUCCESS", JSON.stringify(granted));
const post = async (temperature: number) =>
  (await wire(`/api/v1/${granted["credentialsValue"]}/telemetry`, { temperature })).status;
assert.equal(await post(21.5), 200);
const pump = { params: { path: { name: "pump-1" } } };
assert.equal(done(await muster.GET("/devices/{name}", pump)).state, "provisioned");
const values = done(await muster.GET("/devices/{name}/telemetry", pump)).items;
assert.deepEqual(values.map((value) => [value.key, value.value]), [["temperature", 21.5]]);

// Switched off it is nobody, switched on it is itself again.
assert.equal(done(await muster.POST("/devices/{name}/disable", pump)).state, "disabled");
assert.equal(await post(22), 401);
assert.equal(done(await muster.POST("/devices/{name}/enable", pump)).state, "provisioned");
assert.equal(await post(23), 200);

// Another group secret.
const pumps = { params: { path: { name: "pumps" } } };
const changed = done(
  await muster.PATCH("/profiles/{name}", { ...pumps, body: { version: made.version, rotate_secret: { overlap_s: 0 } } }),
);
assert("provision_secret" in changed && changed.provision_secret !== made.provision_secret);
const late = await muster.PATCH("/profiles/{name}", { ...pumps, body: { version: made.version, approval: true } });
assert(late.error !== undefined && [409, 412].includes(late.error.status));

// It leaves, and that stands in its timeline and in the feed.
const left = done(await muster.POST("/devices/{name}/decommission", { ...pump, body: { grace_s: 0 } }));
assert(left.state === "decommissioning" || left.state === "decommissioned", left.state);
assert.equal(await post(24), 401);
const kinds = done(await muster.GET("/devices/{name}/timeline", pump)).items.map((entry) => entry.kind);
for (const kind of ["device-added", "device-disabled", "device-enabled", "device-left"]) {
  assert(kinds.includes(kind), `${kind} is not among ${kinds}`);
}
const heard = done(await muster.GET("/events")) as components["schemas"]["Events"];
assert(heard.items.some((event) => event.kind === "device-left"));

const refused = await client("of nobody").GET("/whoami");
assert.equal(refused.error?.status, 401);
console.log("walked through");
