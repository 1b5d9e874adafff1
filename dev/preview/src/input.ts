// What the page is given: one board as it is shipped, and what a Prometheus answered to its queries.
import type { DataTransformerConfig, FieldConfigSource } from '@grafana/data';

export interface Target {
  refId: string;
  expr: string;
  legendFormat?: string;
  format?: string;
  instant?: boolean;
}

export interface Panel {
  id: number;
  type: string;
  title?: string;
  description?: string;
  transparent?: boolean;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: Target[];
  fieldConfig?: FieldConfigSource;
  options?: Record<string, any>;
  transformations?: DataTransformerConfig[];
}

/** One result of Prometheus' HTTP API: `value` of an instant query, `values` of a range query. */
export interface Series {
  metric: Record<string, string>;
  value?: [number, string];
  values?: Array<[number, string]>;
}

/** stepSeconds: the resolution of a range query, 0 of an instant one. expr: as it was sent. */
export interface Answer {
  expr: string;
  stepSeconds: number;
  series: Series[];
}

export interface Annotation {
  name: string;
  color: string;
  from: number;
  to: number;
}

/** Times are milliseconds since 1970. `panels` are the board's, rows opened, in their places; answers by panel and refId. */
export interface Input {
  title: string;
  panels: Panel[];
  answers: Record<string, Record<string, Answer>>;
  annotations: Annotation[];
  variables: Array<{ label: string; value: string }>;
  values: Record<string, string>;
  range: { from: number; to: number };
  width: number;
}

/** What the page says of itself, in its element `outcome`. */
export interface Outcome {
  drawn: number;
  empty: number[];
  problems: string[];
}
