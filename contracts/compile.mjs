// Compiles UpdateLedger.sol into artifacts/UpdateLedger.json; with --check compares instead and writes nothing.
// The same sources give the same bytes on any machine: compiler, optimizer and EVM version are pinned, and no
// metadata (which would hash paths and comments) is appended to the bytecode.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const artifactPath = join(here, "artifacts", "UpdateLedger.json");
const settings = {
  evmVersion: "cancun",
  optimizer: { enabled: true, runs: 200 },
  metadata: { bytecodeHash: "none", appendCBOR: false },
};

/** Text of a source by the name under which it is imported. */
function readSource(name) {
  const path = name.startsWith("@") ? join(here, "node_modules", name) : join(here, name);
  return readFileSync(path, "utf8");
}

/** The artifact's content, or a list of what the compiler complains about. */
function compile() {
  const solc = require("solc");
  const read = {};
  const load = (name) => {
    try {
      read[name] = readSource(name);
      return { contents: read[name] };
    } catch (error) {
      return { error: `${name}: ${error.message}` };
    }
  };
  const input = {
    language: "Solidity",
    sources: { "UpdateLedger.sol": { content: load("UpdateLedger.sol").contents } },
    settings: {
      ...settings,
      outputSelection: {
        "UpdateLedger.sol": {
          UpdateLedger: ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences"],
        },
      },
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: load }));
  if (output.errors?.length) {
    return { problems: output.errors.map((error) => error.formattedMessage) };
  }
  const { abi, evm } = output.contracts["UpdateLedger.sol"].UpdateLedger;
  const digest = createHash("sha256");
  for (const name of Object.keys(read).sort()) {
    digest.update(`${name}\0${Buffer.byteLength(read[name])}\0${read[name]}`);
  }
  const artifact = {
    contract: "UpdateLedger",
    compiler: solc.version(),
    settings,
    sources: Object.keys(read).sort(),
    sourceSha256: digest.digest("hex"),
    abi,
    bytecode: `0x${evm.bytecode.object}`,
    deployedBytecode: `0x${evm.deployedBytecode.object}`,
    immutableReferences: evm.deployedBytecode.immutableReferences,
  };
  return { text: `${JSON.stringify(artifact, null, 1)}\n`, size: evm.deployedBytecode.object.length / 2 };
}

/** Stop with a sentence. */
function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}

if (!existsSync(join(here, "node_modules", "solc"))) {
  fail("The Solidity compiler is not installed. Run 'npm ci' in contracts/ first.");
}
const { text, size, problems } = compile();
if (problems) {
  fail(`contracts/UpdateLedger.sol does not compile cleanly:\n${problems.join("\n")}`);
} else if (process.argv.includes("--check")) {
  const committed = existsSync(artifactPath) ? readFileSync(artifactPath, "utf8") : "";
  if (committed !== text) {
    fail("contracts/artifacts/UpdateLedger.json is not what the sources compile to. Run 'node contracts/compile.mjs' and commit it.");
  }
  console.log("contracts/artifacts/UpdateLedger.json is what the sources compile to.");
} else {
  mkdirSync(dirname(artifactPath), { recursive: true });
  writeFileSync(`${artifactPath}.part`, text);
  renameSync(`${artifactPath}.part`, artifactPath);
  console.log(`Wrote contracts/artifacts/UpdateLedger.json (${size} bytes of code).`);
}
