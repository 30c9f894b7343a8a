#!/usr/bin/env node
// The compiler of package.json behind the two calls that Slither makes of a native `solc`: `solc --version`, and
// `solc FILE --combined-json WHAT`. Everything is compiled as compile.mjs does it; other options are passed over.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const solc = createRequire(import.meta.url)("solc");

/** A path as Slither finds it again, from this folder. */
function pathOf(name) {
  return name.startsWith("@") ? join("node_modules", name) : name;
}

/** Text of a source that another one imports. */
function load(name) {
  try {
    return { contents: readFileSync(join(here, pathOf(name)), "utf8") };
  } catch (error) {
    return { error: `${name}: ${error.message}` };
  }
}

/** What a native compiler prints for --combined-json. */
function combined(file) {
  const name = basename(file);
  const parts = ["abi", "devdoc", "userdoc", "evm.bytecode", "evm.deployedBytecode", "evm.methodIdentifiers"];
  const input = {
    language: "Solidity",
    sources: { [name]: { content: readFileSync(join(here, name), "utf8") } },
    settings: {
      evmVersion: "cancun",
      optimizer: { enabled: true, runs: 200 },
      outputSelection: { "*": { "*": parts, "": ["ast"] } },
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: load }));
  if (output.errors?.length) {
    throw new Error(output.errors.map((error) => error.formattedMessage).join("\n"));
  }
  const contracts = {};
  for (const [path, made] of Object.entries(output.contracts)) {
    for (const [contract, { abi, devdoc, userdoc, evm }] of Object.entries(made)) {
      contracts[`${path}:${contract}`] = {
        abi,
        devdoc,
        userdoc,
        hashes: evm.methodIdentifiers,
        bin: evm.bytecode.object,
        srcmap: evm.bytecode.sourceMap,
        "bin-runtime": evm.deployedBytecode.object,
        "srcmap-runtime": evm.deployedBytecode.sourceMap,
      };
    }
  }
  const ordered = Object.entries(output.sources).sort(([, one], [, other]) => one.id - other.id);
  const sources = Object.fromEntries(ordered.map(([path, { ast }]) => [path, { AST: ast }]));
  return { contracts, sources, sourceList: ordered.map(([path]) => path), version: solc.version() };
}

if (process.argv.includes("--combined-json")) {
  process.stdout.write(JSON.stringify(combined(process.argv[2])));
} else {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}`);
}
