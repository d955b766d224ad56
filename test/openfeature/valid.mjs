// Reads a flag configuration and says whether flagd's own schema takes it.
import { readFileSync } from 'node:fs';
import { MemoryStorage } from '@openfeature/flagd-core';

const silent = { error() {}, warn() {}, info() {}, debug() {} };
console.log(new MemoryStorage(silent).setConfigurations(readFileSync(0, 'utf8'), true).length, 'flags');
