// From Prometheus' answers to the data frames that a Grafana panel is drawn from.
import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  createDataFrame,
  createTheme,
  FieldConfigOptionsRegistry,
  FieldType,
  standardTransformers,
  standardTransformersRegistry,
  ThresholdsMode,
  transformDataFrame,
  type DataFrame,
  type ScopedVars,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';
import type { Answer, Input, Panel, Series, Target } from './input';

export const theme = createTheme({ colors: { mode: 'dark' } });

// What Grafana puts where a panel says nothing.
const THRESHOLDS = {
  mode: ThresholdsMode.Absolute,
  steps: [
    { color: 'green', value: -Infinity },
    { color: 'red', value: 80 },
  ],
};

const transformers = Object.values(standardTransformers).map((one: any) => ({
  id: one.id,
  name: one.name,
  transformation: () => Promise.resolve(one),
}));
standardTransformersRegistry.setInit(() => [...new Map(transformers.map((one) => [one.id, one])).values()] as any);

/** Return a panel's frames: answers as frames, its transformations, then units, thresholds and colours on every field. */
export async function prepare(panel: Panel, input: Input): Promise<DataFrame[]> {
  for (const { id } of panel.transformations ?? []) {
    if (!standardTransformersRegistry.getIfExists(id)) {
      throw new Error(`transformation ${id} is unknown`);
    }
  }
  const raw = (panel.targets ?? []).flatMap((target) => {
    const answer = input.answers[panel.id]?.[target.refId];
    return answer ? framesOf(target, answer, panel) : [];
  });
  const context = { interpolate: (text: string) => replace(text, input.values) };
  const data = await lastValueFrom(transformDataFrame(panel.transformations ?? [], raw, context));
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const color = { mode: panel.type === 'timeseries' ? 'palette-classic' : 'thresholds' };
  const frames = applyFieldOverrides({
    data,
    fieldConfig: { defaults: { color, thresholds: THRESHOLDS, ...defaults }, overrides },
    fieldConfigRegistry: registryFor(panel),
    replaceVariables: (text, scoped) => replace(text, input.values, scoped),
    theme,
    timeZone: 'utc',
  });
  cacheFieldDisplayNames(frames);
  return frames;
}

/** Return `text` with the board's variables and Grafana's `${__field...}` filled in; an unknown name stays as it is. */
export function replace(text: string, values: Record<string, string>, scoped?: ScopedVars): string {
  const field = scoped?.__dataContext?.value?.field ?? scoped?.__field?.value;
  return text.replace(/\$\{([\w.]+)(?::\w+)?\}|\$(\w+)/g, (whole, braced, plain) => {
    const name: string = braced ?? plain;
    if (name.startsWith('__field.labels.')) {
      return field?.labels?.[name.slice('__field.labels.'.length)] ?? '';
    }
    const value = name === '__field.name' ? field?.name : (scoped?.[name]?.text ?? values[name]);
    return value === undefined ? whole : String(value);
  });
}

/** Return whether no field holds a number or a text to show. */
export function isEmpty(frames: DataFrame[]): boolean {
  const shown = frames.flatMap((frame) => frame.fields.filter((field) => field.type !== FieldType.time));
  return !shown.some((field) => field.values.some((value) => value !== null && value !== undefined && !Number.isNaN(value)));
}

function framesOf(target: Target, answer: Answer, panel: Panel): DataFrame[] {
  if (target.format === 'table') {
    const tables = (panel.targets ?? []).filter((one) => one.format === 'table').length;
    return answer.series.length ? [table(target, answer, tables > 1 ? `Value #${target.refId}` : 'Value')] : [];
  }
  return answer.series.map((series) => {
    const points = samples(series);
    const { __name__: _, ...labels } = series.metric;
    const interval = answer.stepSeconds ? answer.stepSeconds * 1000 : undefined;
    const displayNameFromDS = legend(target, series.metric, answer.expr);
    return createDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: points.map(([time]) => time), config: { interval } },
        { name: 'Value', type: FieldType.number, values: points.map(([, value]) => value), labels, config: { displayNameFromDS } },
      ],
    });
  });
}

// One frame for all series: a column for the time, one for each label, one for the value.
function table(target: Target, answer: Answer, valueName: string): DataFrame {
  const names = [...new Set(answer.series.flatMap((one) => Object.keys(one.metric)))].sort();
  const rows = answer.series.flatMap((one) => samples(one).map(([time, value]) => ({ time, value, metric: one.metric })));
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: rows.map((row) => row.time), config: {} },
      ...names.map((name) => ({
        name,
        type: FieldType.string,
        values: rows.map((row) => row.metric[name] ?? ''),
        config: { filterable: true },
      })),
      { name: valueName, type: FieldType.number, values: rows.map((row) => row.value), config: {} },
    ],
  });
}

function samples(series: Series): Array<[number, number]> {
  const points = series.values ?? (series.value ? [series.value] : []);
  return points.map(([seconds, text]) => [Math.round(seconds * 1000), number(text)]);
}

function number(text: string): number {
  const infinities: Record<string, number> = { '+Inf': Infinity, '-Inf': -Infinity };
  return infinities[text] ?? Number(text);
}

function legend(target: Target, metric: Record<string, string>, expr: string): string | undefined {
  const { __name__: name = '', ...labels } = metric;
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
  if (!target.legendFormat || target.legendFormat === '__auto') {
    if (target.legendFormat && pairs.length) {
      return undefined; // Grafana then names a series by the labels in which it differs
    }
    return pairs.length ? `${name}{${pairs.join(', ')}}` : name || expr;
  }
  return target.legendFormat.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => metric[label] ?? '');
}

// Grafana knows the options of every kind of panel; here the registry holds what the panel itself sets.
function registryFor(panel: Panel): FieldConfigOptionsRegistry {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const custom = new Set(Object.keys((defaults as any).custom ?? {}).map((key) => `custom.${key}`));
  for (const { id } of overrides.flatMap((rule) => rule.properties)) {
    if (id.startsWith('custom.')) {
      custom.add(id);
    }
  }
  const onNumbers = new Set(['min', 'max', 'decimals', 'thresholds', 'fieldMinMax']);
  const standard = ['unit', 'displayName', 'noValue', 'mappings', 'links', 'color', ...onNumbers];
  const item = (id: string, isCustom: boolean) => ({
    id,
    path: isCustom ? id.slice('custom.'.length) : id,
    name: id,
    isCustom,
    editor: () => null,
    override: () => null,
    process: (value: any, context: any) =>
      id === 'displayName' && value ? context.replaceVariables(value, context.field?.state?.scopedVars) : value,
    shouldApply: (field: any) => !onNumbers.has(id) || field.type === FieldType.number,
  });
  const registry = new FieldConfigOptionsRegistry();
  standard.forEach((id) => registry.register(item(id, false) as any));
  custom.forEach((id) => registry.register(item(id, true) as any));
  return registry;
}
