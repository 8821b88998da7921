// Sends one of every call with Segment's own client. Arguments: the host, the write key, a prefix for ids, and
// optionally a path. Prints what the client itself says became of the calls.
import { Analytics } from "@segment/analytics-node";

const [host, writeKey, prefix, path] = process.argv.slice(2);
const settings = { writeKey, host, maxRetries: 0, flushAt: 100 };
const analytics = new Analytics(path ? { ...settings, path } : settings);
const failed = [];
const attempts = [];
analytics.on("error", (error) => failed.push(String(error.reason ?? error.code)));
analytics.on("http_response", (response) => attempts.push(response.status));

const userId = `${prefix}-user`;
const anonymousId = `${prefix}-visitor`;
const context = { device: { type: "ios" }, location: { city: "Berlin" }, locale: "de-DE", timezone: "Europe/Berlin" };

analytics.track({ anonymousId, event: "Product Viewed", properties: { category: "audio" }, context });
analytics.track({ anonymousId, event: "No Such Thing", properties: { nested: { a: [1, null] } } });
analytics.track({ anonymousId, event: "Order Completed", properties: { order_id: "bad", total: "a lot" } });
analytics.page({ anonymousId, name: "Offers", properties: { path: "/offers" } });
analytics.screen({ anonymousId, name: "Offers" });
analytics.group({ anonymousId, groupId: "g1", traits: { employees: 5 } });
analytics.alias({ previousId: anonymousId, userId });
analytics.identify({ userId, traits: { plan: "pro", unheard: "of" }, context });
analytics.track({
  userId,
  event: "Order Completed",
  properties: { order_id: "o1", total: 12.5 },
  timestamp: new Date(Date.now() - 3600_000),
  messageId: `${prefix}-order`,
});
await analytics.closeAndFlush({ timeout: 20_000 });
process.stdout.write(JSON.stringify({ failed, attempts }));
