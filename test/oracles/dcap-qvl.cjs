// Has @phala/dcap-qvl judge a quote, and prints its verdict as one line of JSON:
// {"status": …} when it accepts, {"error": …} when it refuses.
//
// Usage: node dcap-qvl.cjs MODULES QUOTE COLLATERAL AT [ROOT]
//   MODULES     directory that holds node_modules
//   QUOTE       file with the bytes of the quote
//   COLLATERAL  file with the collateral, as JSON
//   AT          the time to judge at, in seconds since 1970
//   ROOT        file with the trusted root in PEM; Intel's without it
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { createRequire } = require("node:module");

const [modules, quote, collateral, at, root] = process.argv.slice(2);
const { QuoteVerifier } = createRequire(path.join(modules, "/"))("@phala/dcap-qvl");

const der = (file) => Buffer.from(fs.readFileSync(file, "utf8").replace(/-----[^-]*-----|\s/g, ""), "base64");
const messages = (e) => (e.cause ? `${e.message}: ${messages(e.cause)}` : e.message);

const verifier = root ? QuoteVerifier.newWithRootCa(der(root)) : QuoteVerifier.newProd();
let verdict;
try {
  const report = verifier.verify(fs.readFileSync(quote), JSON.parse(fs.readFileSync(collateral, "utf8")), Number(at));
  verdict = { status: report.status };
} catch (e) {
  verdict = { error: messages(e) };
}
console.log(JSON.stringify(verdict));
