#!/usr/bin/env node
// Runs this platform's authferry in place of itself, as far as Node can: with
// its arguments, streams, signals and exit code.
'use strict';

const { spawn } = require('node:child_process');
const { constants } = require('node:os');
const { join } = require('node:path');
const { isatty } = require('node:tty');

const windows = process.platform === 'win32';
const program = join(__dirname, `${process.platform}-${process.arch}`, windows ? 'authferry.exe' : 'authferry');

// A terminal, and on Windows the console, tells the child of Ctrl-C by itself.
const told = windows || [0, 1, 2].some((fd) => isatty(fd));
for (const signal of ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (!told || signal === 'SIGTERM') child.kill(signal);
  });
}

const child = spawn(program, process.argv.slice(2), { stdio: 'inherit' });

child.on('error', (error) => {
  console.error(`authferry: error: ${program} can't be run (${error.code})`);
  console.error('authferry: hint: npm install --force authferry, or install it another way: https://github.com/authferry/authferry');
  process.exitCode = 1;
});
child.on('exit', (code, signal) => {
  process.exitCode = code ?? 128 + constants.signals[signal];
  if (signal) {
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  }
});
