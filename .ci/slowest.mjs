// Reads `go test -json` and prints the packages and the tests that took longest,
// in seconds.
import { createInterface } from 'node:readline';

const packages = [];
const tests = [];
for await (const line of createInterface({ input: process.stdin })) {
  let event;
  try {
    event = JSON.parse(line);
  } catch {
    continue; // from go itself, not from a test
  }
  const { Action, Package, Test, Elapsed } = event;
  if (!['pass', 'fail'].includes(Action) || !Elapsed) continue;
  const name = Package.replace(/^github\.com\/authferry\/authferry\/?/, './');
  if (Test) tests.push({ Elapsed, name: `${name} ${Test}` });
  else packages.push({ Elapsed, name });
}
for (const [title, rows] of [['packages', packages], ['tests', tests]]) {
  console.log(title);
  rows.sort((a, b) => b.Elapsed - a.Elapsed);
  for (const { Elapsed, name } of rows.slice(0, 10)) console.log(`${Elapsed.toFixed(1).padStart(8)}  ${name}`);
}
