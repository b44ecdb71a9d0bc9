/** The npm packages with binaries of uWebSockets.js: their folders, and the ABIs of the Node versions they are used for. */
export const NATIVE_PACKAGES = [
  { name: 'uWebSockets.js', folder: 'dist/bin', abis: ['115', '127'] },
  { name: 'uWebSockets.js-node24', folder: '', abis: ['137', '141'] },
];
