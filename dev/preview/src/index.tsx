// The page: Grafana's grid of 24 columns with the board's panels in it. It reads `window.previewInput` and leaves what
// became of each panel in the element `outcome`.
import { ThemeContext, type DataFrame } from '@grafana/data';
import { GlobalStyles, Icon, PanelChrome } from '@grafana/ui';
import { Component, type ReactNode } from 'react';
import { createRoot } from 'react-dom/client';
import { isEmpty, prepare, replace, theme } from './frames';
import type { Input, Outcome, Panel } from './input';
import { KINDS, rangeOf } from './panels';

const CELL = 30;
const GAP = 8;
const HEADER = 56;
const input: Input = (window as any).previewInput;
const outcome: Outcome = { drawn: 0, empty: [], problems: [] };

class Guard extends Component<{ panel: Panel; children: ReactNode }, { broken: boolean }> {
  state = { broken: false };
  static getDerivedStateFromError = () => ({ broken: true });
  componentDidCatch(error: Error) {
    outcome.problems.push(`${this.props.panel.title}: ${error.message}`);
  }
  render = () => (this.state.broken ? <Notice text="Failed to draw" /> : this.props.children);
}

function Notice({ text }: { text: string }) {
  const style = { height: '100%', display: 'grid', placeItems: 'center', color: theme.colors.text.secondary };
  return <div style={style}>{text}</div>;
}

function Place({ panel, frames }: { panel: Panel; frames: DataFrame[] | null }) {
  const { x, y, w, h } = panel.gridPos;
  const column = (input.width - GAP * 25) / 24;
  const style: React.CSSProperties = {
    position: 'absolute',
    left: GAP + x * (column + GAP),
    top: HEADER + y * (CELL + GAP),
    width: w * (column + GAP) - GAP,
    height: h * (CELL + GAP) - GAP,
  };
  if (panel.type === 'row') {
    return (
      <div style={{ ...style, display: 'flex', alignItems: 'center', gap: 8, ...theme.typography.h6 }}>
        <Icon name="angle-down" /> {replace(panel.title ?? '', input.values)}
      </div>
    );
  }
  const Kind = KINDS[panel.type];
  const content = (width: number, height: number) => {
    if (!frames || !Kind) {
      return <Notice text="Failed to draw" />;
    }
    if (panel.type !== 'text' && isEmpty(frames)) {
      return <Notice text={panel.fieldConfig?.defaults?.noValue ?? 'No data'} />;
    }
    return (
      <Guard panel={panel}>
        <Kind {...{ panel, frames, input, width, height }} />
      </Guard>
    );
  };
  return (
    <div style={style}>
      <PanelChrome
        title={replace(panel.title ?? '', input.values)}
        description={panel.description}
        displayMode={panel.transparent ? 'transparent' : 'default'}
        width={style.width as number}
        height={style.height as number}
        padding={panel.type === 'table' ? 'none' : 'md'}
      >
        {content}
      </PanelChrome>
    </div>
  );
}

function Header() {
  const { from, to } = rangeOf(input);
  const box = { border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2, padding: '4px 8px', background: theme.components.input.background };
  const clock = (time: typeof from) => time.utc().format('YYYY-MM-DD HH:mm:ss');
  return (
    <div style={{ height: HEADER, padding: '0 8px', display: 'flex', alignItems: 'center', gap: 8 }}>
      <h3 style={{ margin: '0 16px 0 0' }}>{input.title}</h3>
      {input.variables.map(({ label, value }) => (
        <span key={label} style={box}>
          <span style={{ color: theme.colors.text.secondary, marginRight: 8 }}>{label}</span>
          {value}
        </span>
      ))}
      <span style={{ ...box, marginLeft: 'auto' }}>
        <Icon name="clock-nine" /> {clock(from)} to {clock(to)} UTC
      </span>
    </div>
  );
}

async function main() {
  await Promise.all(['400', '500'].map((weight) => new FontFace('Inter', `url(public/fonts/inter/Inter-${weight === '400' ? 'Regular' : 'Medium'}.woff2)`, { weight }).load().then((font) => document.fonts.add(font))));
  const drawn = await Promise.all(
    input.panels.map(async (panel) => {
      try {
        if (panel.type !== 'row' && !KINDS[panel.type]) {
          throw new Error(`panels of type ${panel.type} cannot be drawn`);
        }
        const frames = panel.type === 'row' || panel.type === 'text' ? [] : await prepare(panel, input);
        if (panel.type !== 'row' && panel.type !== 'text' && isEmpty(frames)) {
          outcome.empty.push(panel.id);
        }
        return { panel, frames };
      } catch (error) {
        outcome.problems.push(`${panel.title}: ${(error as Error).message}`);
        return { panel, frames: null };
      }
    })
  );
  outcome.drawn = drawn.filter(({ panel }) => panel.type !== 'row').length;
  createRoot(document.getElementById('root')!).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Header />
      {drawn.map(({ panel, frames }) => (
        <Place key={panel.id} {...{ panel, frames }} />
      ))}
    </ThemeContext.Provider>
  );
  // Legends and tables measure themselves and are drawn again: the page is ready some frames later.
  setTimeout(() => (document.getElementById('outcome')!.textContent = JSON.stringify(outcome)), 2000);
}

window.addEventListener('error', (event) => outcome.problems.push(event.message));
void main().catch((error) => {
  outcome.problems.push(String(error));
  document.getElementById('outcome')!.textContent = JSON.stringify(outcome);
});
