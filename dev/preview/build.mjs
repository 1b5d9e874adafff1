// Bundle the page into the folder that is named: page.js, page.css, and below public/ the icons and fonts that
// Grafana's components ask a server for.
import { build } from 'esbuild';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

const out = process.argv[2];
await build({
  entryPoints: { page: 'src/index.tsx' },
  outdir: out,
  bundle: true,
  minify: true,
  format: 'esm',
  splitting: true,
  loader: { '.ttf': 'empty' },
  jsx: 'automatic',
  target: 'es2022',
  define: { 'process.env.NODE_ENV': '"production"' },
  logLevel: 'warning',
});

cpSync('node_modules/@grafana/ui/dist/public/img', join(out, 'public/build/img'), { recursive: true });
const fonts = join(out, 'public/fonts/inter');
mkdirSync(fonts, { recursive: true });
const names = { 'Inter-Regular': '400-normal', 'Inter-Medium': '500-normal', 'Inter-Italic': '400-italic', 'Inter-MediumItalic': '500-italic' };
for (const [asked, shipped] of Object.entries(names)) {
  cpSync(`node_modules/@fontsource/inter/files/inter-latin-${shipped}.woff2`, join(fonts, `${asked}.woff2`));
}
