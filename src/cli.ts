#!/usr/bin/env node
/** The `carillon` command. */
import process from 'node:process';

const [name, ...args] = process.argv.slice(2);
// The drain loads next to nothing: beside a broker it must not be what takes the last of the memory.
if (name === 'drain') await (await import('./cli/drain-command.ts')).drain(args, process);
else await (await import('./commands.ts')).run(process.argv.slice(2));
