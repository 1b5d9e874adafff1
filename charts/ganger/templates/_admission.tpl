{{/* First part of the policies' names: cluster-scoped, so with the namespace; without a colon, which they may not have. */}}
{{- define "ganger.policyName" -}}
{{- printf "%s.%s" .Release.Namespace (include "ganger.fullname" .) -}}
{{- end -}}

{{/* The binding that makes a policy count: (list context LAST-PART-OF-ITS-NAME NAMESPACES), where empty means all. */}}
{{- define "ganger.policyBinding" -}}
{{- $ := index . 0 -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "ganger.policyName" $ }}.{{ index . 1 }}
  labels:
    {{- include "ganger.labels" $ | nindent 4 }}
spec:
  policyName: {{ include "ganger.policyName" $ }}.{{ index . 1 }}
  validationActions: [Deny]
  {{- with index . 2 }}
  matchResources:
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values: {{ toJson . }}
  {{- end }}
{{- end -}}

{{/* The condition by which a policy looks at the operator's requests alone. */}}
{{- define "ganger.onlyTheOperator" -}}
- name: only-the-operator
  expression: request.userInfo.username == "system:serviceaccount:{{ .Release.Namespace }}:{{ include "ganger.serviceAccountName" . }}"
{{- end -}}

{{/* CEL: the references of an object (a variable of CEL) that control it. At most one, as the API server sees to. */}}
{{- define "ganger.controllers" -}}
{{ . }}.metadata.?ownerReferences.orValue([]).filter(reference, reference.?controller.orValue(false))
{{- end -}}

{{/* CEL: whether a TrainingJob or a DevSession controls the object. */}}
{{- define "ganger.ofOurs" -}}
variables.controllers.exists(owner, owner.kind in ["TrainingJob", "DevSession"] && owner.apiVersion.startsWith("ganger.dev/"))
{{- end -}}

{{/* CEL: whether a TrainingJob controls the object. */}}
{{- define "ganger.ofAJob" -}}
variables.controllers.exists(owner, owner.kind == "TrainingJob" && owner.apiVersion.startsWith("ganger.dev/"))
{{- end -}}
