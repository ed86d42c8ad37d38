// Reads `go test -json` and prints what a person wants of it: each package's
// line, the output of what failed, what was skipped and why. Ends with an error
// when something failed or was skipped without being allowed to: a machine on
// which everything was installed has no reason to skip. The allowed reasons are
// regular expressions: one a line in the file that the first argument names, and the
// arguments after it; without an argument every reason will do.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const [,, file, ...more] = process.argv;
const allowed = (file ? [...readFileSync(file, 'utf8').split('\n'), ...more] : ['.?'])
  .map((line) => line.replace(/#.*/, '').trim()).filter(Boolean)
  .map((line) => new RegExp(line));

const outputs = new Map();
const skipped = [];
const summary = [];
let failed = 0;

for await (const line of createInterface({ input: process.stdin })) {
  let event;
  try {
    event = JSON.parse(line);
  } catch {
    console.log(line); // from go itself, not from a test
    continue;
  }
  const { Action, Package, Test, Output, ImportPath } = event;
  const key = `${Package ?? ImportPath}\0${Test ?? ''}`;
  switch (Action) {
    case 'output':
      if (!Test && /^(ok|FAIL|\?)\s/.test(Output)) {
        if (!Output.includes('\t')) break; // FAIL alone says nothing
        summary.push(Output.trimEnd());
        console.log(Output.trimEnd());
        break;
      }
      outputs.set(key, (outputs.get(key) ?? '') + Output);
      break;
    case 'build-output':
      process.stdout.write(Output);
      break;
    case 'build-fail':
      failed += 1;
      break;
    case 'fail':
      failed += 1;
      console.log(`--- FAIL: ${Package} ${Test ?? ''}\n${outputs.get(key) ?? ''}`);
      break;
    case 'skip':
      if (Test) skipped.push({ name: `${Package} ${Test}`, reason: reason(outputs.get(key) ?? '') });
      break;
    default:
  }
  if (Test && ['pass', 'fail', 'skip'].includes(Action)) outputs.delete(key);
}

function reason(output) {
  return output.split('\n').filter((line) => /\.go:\d+: /.test(line))
    .map((line) => line.replace(/^.*?\.go:\d+: /, '').trim()).join(' ');
}

const wrong = skipped.filter((skip) => !allowed.some((pattern) => pattern.test(skip.reason)));
for (const skip of skipped) {
  console.log(`${wrong.includes(skip) ? 'SKIPPED WITHOUT LEAVE' : 'skipped'}: ${skip.name}: ${skip.reason}`);
}
const count = (word) => summary.filter((line) => line.startsWith(word)).length;
console.log(`${count('ok')} packages passed, ${count('FAIL')} failed; ${skipped.length} tests skipped, ${wrong.length} of them without leave`);
process.exit(failed || wrong.length || !summary.length ? 1 : 0);
