{{/* Name of every namespaced object: the release's, with the chart's name in it. */}}
{{- define "ganger.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of cluster-scoped objects; with the namespace, so that two releases do not meet. */}}
{{- define "ganger.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "ganger.fullname" .) -}}
{{- end -}}

{{- define "ganger.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ganger.labels" -}}
{{ include "ganger.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: ganger
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "ganger.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "ganger.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "ganger.image" -}}
{{- with .Values.image -}}
{{- $registry := .registry | default $.Values.global.imageRegistry -}}
{{- $repository := ternary (printf "%s/%s" $registry .repository) .repository (ne $registry "") -}}
{{- if .digest -}}
{{- printf "%s@%s" $repository .digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Image of jobs that set none, and of such sessions. */}}
{{- define "ganger.trainerImage" -}}
{{- include "ganger.movedImage" (list . .Values.trainer.image) -}}
{{- end -}}

{{- define "ganger.sessionImage" -}}
{{- include "ganger.movedImage" (list . .Values.session.image) -}}
{{- end -}}

{{/* (list context IMAGE): as with docker, a first part with a dot or a port, or localhost, is a registry, and stays. */}}
{{- define "ganger.movedImage" -}}
{{- $image := index . 1 -}}
{{- with (index . 0).Values.global.imageRegistry -}}
{{- if regexMatch "^(localhost|[^/]*[.:][^/]*)/" $image -}}{{ $image }}{{- else -}}{{ printf "%s/%s" . $image }}{{- end -}}
{{- else -}}{{ $image }}{{- end -}}
{{- end -}}

{{/*
What the operator may do with jobs and their children: what it uses and nothing else, as the audit log of a test shows.
Secrets are made and never read, for the tokens of sessions; no pods/exec. Its owner references do not set blockOwnerDeletion, so it needs no right on
trainingjobs/finalizers, even where the admission plug-in OwnerReferencesPermissionEnforcement runs.
*/}}
{{- define "ganger.rules" -}}
- apiGroups: [ganger.dev]
  resources: [trainingjobs]
  verbs: [list, watch, delete] # delete: ttlSecondsAfterFinished
- apiGroups: [ganger.dev]
  resources: [trainingjobs/status]
  verbs: [patch]
- apiGroups: [ganger.dev]
  resources: [trainingprofiles]
  verbs: [list, watch] # one watch for all jobs, and no request for any of them
- apiGroups: [ganger.dev]
  resources: [devsessions]
  verbs: [list, watch]
- apiGroups: [ganger.dev]
  resources: [devsessions/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create] # the token of a session, written once and never read
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete] # patch: the public keys of a session that runs
- apiGroups: [""]
  resources: [services, persistentvolumeclaims]
  verbs: [get, list, watch, create]
{{- if .Values.operator.podGroups }}
- apiGroups: [scheduling.k8s.io]
  resources: [podgroups]
  verbs: [get, list, watch, create, delete]
{{- end }}
{{- if .Values.operator.isolateJobs }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create] # made once and never changed; it goes with its job
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.operator.kueue }}
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads/status]
  verbs: [patch]
{{- end }}
{{- end -}}

{{/* Whether the operator reads nodes: they belong to no namespace, so one that is confined to some may not. */}}
{{- define "ganger.readsNodes" -}}
{{- and .Values.operator.readNodes (empty .Values.watchNamespaces) -}}
{{- end -}}

{{/* Whether /metrics asks who reads it. */}}
{{- define "ganger.metricsAuth" -}}
{{- dig "authentication" "enabled" false .Values.metrics -}}
{{- end -}}

{{/* Whether the operator serves anything over TLS. */}}
{{- define "ganger.servesTls" -}}
{{- or .Values.control.enabled (eq (include "ganger.metricsAuth" .) "true") -}}
{{- end -}}

{{/* Secret with the operator's certificate. */}}
{{- define "ganger.tlsSecret" -}}
{{- .Values.control.tlsSecret | default (printf "%s-control-tls" (include "ganger.fullname" .)) -}}
{{- end -}}

{{/* Namespace in which `helm test` trains: one that the operator watches. */}}
{{- define "ganger.testNamespace" -}}
{{- if or (empty .Values.watchNamespaces) (has .Release.Namespace .Values.watchNamespaces) -}}
{{- .Release.Namespace -}}
{{- else -}}
{{- first .Values.watchNamespaces -}}
{{- end -}}
{{- end -}}

{{/*
What `helm test` trains: thirty steps of the smallest task there is, in the image that jobs get, with what test.spec
adds or says otherwise.
*/}}
{{- define "ganger.testSpec" -}}
{{- $spec := dict
  "task" "ganger_trainer.examples.quadratic:task"
  "config" (dict "steps" 30 "batchSize" 4 "lr" 0.02 "threads" 1)
  "workers" 1
  "resources" (dict "requests" (dict "cpu" "250m" "memory" "512Mi") "limits" (dict "memory" "1Gi"))
  "failurePolicy" (dict "maxRestarts" 0)
  "ttlSecondsAfterFinished" 3600
-}}
{{- toYaml (mergeOverwrite $spec (deepCopy .Values.test.spec)) -}}
{{- end -}}
