// One component for each kind of panel that the boards may hold, drawn by Grafana's own visualisations.
import {
  dateTime,
  FieldType,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  renderTextPanelMarkdown,
  VizOrientation,
  type DataFrame,
  type FieldDisplay,
  type TimeRange,
} from '@grafana/data';
import { BarGauge, BigValue, TimeSeries, VizRepeater, type UPlotConfigBuilder } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { useLayoutEffect } from 'react';
import { replace, theme } from './frames';
import type { Annotation, Input, Panel } from './input';

export interface Props {
  panel: Panel;
  frames: DataFrame[];
  input: Input;
  width: number;
  height: number;
}

export const KINDS: Record<string, (props: Props) => React.ReactNode> = {
  timeseries: Lines,
  stat: Stats,
  bargauge: Bars,
  table: Rows,
  text: Words,
};

const LINES = { drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, pointSize: 5, showPoints: 'auto' };

export function rangeOf(input: Input): TimeRange {
  const [from, to] = [dateTime(input.range.from), dateTime(input.range.to)];
  return { from, to, raw: { from, to } };
}

function Lines({ panel, frames, input, width, height }: Props) {
  const drawable = frames.map((frame) => ({
    ...frame,
    fields: frame.fields.map((field) =>
      field.type === FieldType.number
        ? {
            ...field,
            values: field.values.map((value) => (Number.isFinite(value) ? value : null)),
            config: { ...field.config, custom: { ...LINES, ...field.config.custom } },
          }
        : field
    ),
  }));
  const legend = { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [], ...panel.options?.legend };
  return (
    <TimeSeries frames={drawable} width={width} height={height} timeRange={rangeOf(input)} timeZone="utc" legend={legend}>
      {(builder: UPlotConfigBuilder) => <Marks builder={builder} marks={input.annotations} />}
    </TimeSeries>
  );
}

// Annotations as Grafana draws them: a dashed line for a moment, two with a shade between them for a region.
function Marks({ builder, marks }: { builder: UPlotConfigBuilder; marks: Annotation[] }) {
  useLayoutEffect(() => {
    builder.addHook('draw', (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      for (const { color, from, to } of marks) {
        const [left, right] = [plot.valToPos(from, 'x', true), plot.valToPos(to, 'x', true)];
        ctx.strokeStyle = ctx.fillStyle = theme.visualization.getColorByName(color);
        ctx.setLineDash([5, 5]);
        ctx.lineWidth = 2;
        for (const x of new Set([left, right])) {
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
        }
        ctx.globalAlpha = 0.1;
        ctx.fillRect(left, bbox.top, right - left, bbox.height);
        ctx.globalAlpha = 1;
      }
      ctx.restore();
    });
  }, [builder]);
  return null;
}

function displays({ panel, frames, input }: Props, sparkline: boolean): FieldDisplay[] {
  const found = getFieldDisplayValues({
    data: frames,
    fieldConfig: panel.fieldConfig ?? { defaults: {}, overrides: [] },
    reduceOptions: { calcs: ['lastNotNull'], ...panel.options?.reduceOptions },
    replaceVariables: (text, scoped) => replace(text, input.values, scoped),
    theme,
    timeZone: 'utc',
    sparkline,
  });
  for (const one of found) {
    if (one.sparkline) {
      one.sparkline.timeRange = rangeOf(input);
    }
  }
  return found;
}

function Stats(props: Props) {
  const { panel, frames, width, height } = props;
  const { graphMode = 'area', colorMode = 'value', justifyMode = 'auto', textMode = 'auto', orientation = 'auto' } = panel.options ?? {};
  const wide = panel.options?.wideLayout ?? true;
  return (
    <VizRepeater<FieldDisplay, any>
      getValues={() => displays(props, graphMode !== 'none')}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, width, height, count, alignmentFactors }) => (
        <BigValue
          value={value.display}
          sparkline={value.sparkline}
          {...{ width, height, count, alignmentFactors, theme, graphMode, colorMode, justifyMode, textMode }}
          text={panel.options?.text}
          disableWideLayout={!wide}
        />
      )}
      {...{ width, height, orientation }}
      source={frames}
      renderCounter={0}
      autoGrid
    />
  );
}

function Bars(props: Props) {
  const { panel, frames, width, height } = props;
  const options = panel.options ?? {};
  const auto = width > height ? VizOrientation.Vertical : VizOrientation.Horizontal;
  const orientation = !options.orientation || options.orientation === 'auto' ? auto : options.orientation;
  return (
    <VizRepeater<FieldDisplay, any>
      getValues={() => displays(props, false)}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, width, height, orientation, alignmentFactors }) => (
        <BarGauge
          value={value.display}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0)}
          {...{ width, height, orientation, alignmentFactors, theme }}
          text={options.text}
          itemSpacing={10}
          lcdCellWidth={8}
          displayMode={options.displayMode ?? 'gradient'}
          valueDisplayMode={options.valueMode}
          namePlacement={options.namePlacement}
          showUnfilled={options.showUnfilled ?? true}
        />
      )}
      {...{ width, height, orientation }}
      minVizWidth={options.minVizWidth ?? 8}
      minVizHeight={options.minVizHeight ?? 16}
      maxVizHeight={options.maxVizHeight ?? 300}
      itemSpacing={10}
      source={frames}
      renderCounter={0}
    />
  );
}

function Rows({ panel, frames, input, width, height }: Props) {
  const options = panel.options ?? {};
  return (
    <TableNG
      data={frames[0]}
      {...{ width, height }}
      noHeader={options.showHeader === false}
      sortBy={options.sortBy}
      cellHeight={options.cellHeight ?? 'sm'}
      timeRange={rangeOf(input)}
      fieldConfig={panel.fieldConfig}
      structureRev={1}
      enableVirtualization={false}
    />
  );
}

function Words({ panel, input, height }: Props) {
  const { mode = 'markdown', content = '' } = panel.options ?? {};
  const text = replace(content, input.values);
  const html = mode === 'html' ? text : renderTextPanelMarkdown(text);
  return <div className="markdown-html" style={{ height, overflow: 'hidden' }} dangerouslySetInnerHTML={{ __html: html }} />;
}
