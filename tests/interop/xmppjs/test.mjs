// What a client made with xmpp.js sees of the server.
//
// usage: node test.mjs KIND PORT TLS_PORT DOMAIN PASSWORD (accounts u0, u1)
//
// xmpp.js prefers SASL2, Bind 2 with inline stream management, and FAST where the server has them:
// the way of modern clients, which slixmpp does not go.

import { client, xml } from "@xmpp/client";

// The server's certificate is self-signed; Node must not tell so on every connection.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
process.removeAllListeners("warning");

const [kind, port, tlsPort, domain, password] = process.argv.slice(2);
const PATIENCE_MS = 1000 * Number(process.env.INTEROP_PATIENCE ?? 20);
let passed = 0;
let failed = 0;
let skipped = 0;
const troubles = []; // What the clients complained of, to be shown with a failure.

async function check(name, body) {
  try {
    await body();
    passed += 1;
    console.log(`PASS ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}: ${error.stack ?? error}\n${troubles.join("\n")}`);
  }
}

function skip(name, reason) {
  skipped += 1;
  console.log(`SKIP ${name}: ${reason}`);
}

function require(good, reason) {
  if (!good) throw new Error(reason);
}

async function eventually(condition, what) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`still waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function bot(user, { direct = false } = {}) {
  const xmpp = client({
    service: direct ? `xmpps://127.0.0.1:${tlsPort}` : `xmpp://127.0.0.1:${port}`,
    domain,
    username: user,
    password,
  });
  xmpp.reconnect.delay = 50;
  xmpp.heard = [];
  xmpp.sent = [];
  xmpp.on("error", (error) => troubles.push(`${user}: ${error.stack ?? error}`));
  xmpp.on("send", (element) => xmpp.sent.push(element));
  xmpp.on("stanza", (stanza) => {
    if (stanza.is("message") && stanza.getChildText("body")) xmpp.heard.push(stanza.getChildText("body"));
  });
  return xmpp;
}

async function come(xmpp) {
  await xmpp.start();
  await xmpp.send(xml("presence"));
  return xmpp;
}

const say = (from, to, body) =>
  from.send(xml("message", { type: "chat", to: to.jid.toString() }, xml("body", {}, body)));

let left;
let right;

await check("xmpp.js logs in by STARTTLS and by direct TLS", async () => {
  left = await come(bot("u0"));
  right = await come(bot("u1", { direct: true }));
  require(left.jid.resource && right.jid.resource, "no resource bound");
});

await check("xmpp.js sends and receives", async () => {
  await say(left, right, "from left <&>");
  await say(right, left, "from right");
  await eventually(() => right.heard.includes("from left <&>") && left.heard.includes("from right"), "both messages");
});

await check("xmpp.js asks and is answered", async () => {
  await left.iqCaller.get(xml("ping", "urn:xmpp:ping"), domain);
  const info = await left.iqCaller.get(xml("query", "http://jabber.org/protocol/disco#info"), domain);
  require(info.getChildren("feature").length > 5, `${info}`);
});

const modern = left.sent.some((element) => element.is("authenticate", "urn:xmpp:sasl:2"));
if (kind === "coucou") {
  await check("xmpp.js finds SASL2, Bind 2 and inline stream management", async () => {
    require(modern, `sent ${left.sent.map((element) => element.name)}`);
    require(left.streamManagement.enabled && left.streamManagement.id, "stream management is not enabled");
  });
} else {
  skip("xmpp.js finds SASL2, Bind 2 and inline stream management", `${kind} here is too old`);
}

await check("xmpp.js resumes after its connection was cut, and has lost nothing", async () => {
  await eventually(() => left.streamManagement.enabled, "stream management");
  let resumed = false;
  left.streamManagement.on("resumed", () => (resumed = true));
  left.sent.length = 0;
  left.socket.socket?.destroy?.() ?? left.socket.destroy();
  for (let number = 0; number < 5; number += 1) await say(right, left, `while away ${number}`);
  await eventually(() => resumed, "the session to resume");
  await eventually(() => left.heard.filter((body) => body.startsWith("while away")).length >= 5, "the messages");
  await say(left, right, "back again");
  await eventually(() => right.heard.includes("back again"), "the answer");
  const away = left.heard.filter((body) => body.startsWith("while away"));
  require(away.length === 5 && away.every((body, number) => body.endsWith(number)), `heard ${away}`);
});

if (kind === "coucou") {
  await check("xmpp.js came back by a FAST token, without its password", async () => {
    const authenticate = left.sent.find((element) => element.is("authenticate", "urn:xmpp:sasl:2"));
    require(authenticate?.attrs.mechanism.startsWith("HT-"), `${authenticate}`);
  });
} else {
  skip("xmpp.js came back by a FAST token, without its password", `${kind} here is too old`);
}

await check("xmpp.js takes its leave", async () => {
  await Promise.all([left.stop(), right.stop()]);
});

console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed ? 1 : 0);
