// Verifies quotes with @phala/dcap-qvl, and prints each verdict as a line of JSON:
// {"status": …} if it accepts the quote, {"error": …} if it refuses it.
//
// Usage: node dcap-qvl.cjs MODULES CASES [ROOT]
//   MODULES     directory with node_modules
//   CASES       file with a case in JSON on each line: the "quote" in base64, its
//               "collateral", and the time of verification "at" in seconds since 1970
//   ROOT        file with the trusted root in PEM (default: Intel's)
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { createRequire } = require("node:module");

const [modules, cases, root] = process.argv.slice(2);
const { QuoteVerifier } = createRequire(path.join(modules, "/"))("@phala/dcap-qvl");

const der = (file) => Buffer.from(fs.readFileSync(file, "utf8").replace(/-----[^-]*-----|\s/g, ""), "base64");
const messages = (e) => (e.cause ? `${e.message}: ${messages(e.cause)}` : e.message);

const verifier = root ? QuoteVerifier.newWithRootCa(der(root)) : QuoteVerifier.newProd();
for (const line of fs.readFileSync(cases, "utf8").split("\n").filter(Boolean)) {
  const { quote, collateral, at } = JSON.parse(line);
  let verdict;
  try {
    const report = verifier.verify(Buffer.from(quote, "base64"), collateral, at);
    verdict = { status: report.status };
  } catch (e) {
    verdict = { error: messages(e) };
  }
  console.log(JSON.stringify(verdict));
}
