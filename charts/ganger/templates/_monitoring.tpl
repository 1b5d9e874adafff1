{{/*
Refuses to render an object of the Prometheus operator where its definition is missing: one sentence here, instead of
`no matches for kind` from the API server after half of the chart is installed. Takes a dict of root, kind and value.
*/}}
{{- define "ganger.requireMonitoring" -}}
{{- $api := printf "monitoring.coreos.com/v1/%s" .kind -}}
{{- if not (.root.Capabilities.APIVersions.Has $api) -}}
{{- fail (printf "%s=true needs the Prometheus operator, but this cluster does not serve %s. Install the operator (its definitions suffice) first or set %s=false; docs/observability.md tells how a Prometheus does without it. With `helm template` add --api-versions %s." .value $api .value $api) -}}
{{- end -}}
{{- end -}}

{{/* Labels of an object of the Prometheus operator; takes a dict of root and more. */}}
{{- define "ganger.monitoringLabels" -}}
{{ include "ganger.labels" .root }}
{{- with .more }}
{{ toYaml . }}
{{- end }}
{{- end -}}
