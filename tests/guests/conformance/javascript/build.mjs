// Makes a component of a source file: node build.mjs COMPONENTIZE-JS SOURCE WIT WORLD OUT. The first is the package's folder.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { argv } from 'node:process';
import { pathToFileURL } from 'node:url';

const [, , tool, sourcePath, witPath, worldName, out] = argv;
const { componentize } = await import(pathToFileURL(join(tool, 'src/componentize.js')));
// Without these the component imports nothing of WASI.
const disableFeatures = ['stdio', 'random', 'clocks', 'http', 'fetch-event'];
const { component } = await componentize({ sourcePath, witPath, worldName, disableFeatures });
await writeFile(out, component);
