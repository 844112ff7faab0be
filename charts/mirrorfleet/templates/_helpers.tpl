{{/* The name that all names begin with. */}}
{{- define "mirrorfleet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Cluster-wide names carry the namespace too, so that two releases never meet. */}}
{{- define "mirrorfleet.clusterName" -}}
{{- printf "%s-%s" (include "mirrorfleet.fullname" .) .Release.Namespace | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What the controller's pods are selected by; never changes. */}}
{{- define "mirrorfleet.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "mirrorfleet.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "mirrorfleet.selectorLabels" . }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The image by digest where one is given, else by tag. */}}
{{- define "mirrorfleet.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* What the controller may do. No rule names Secrets: they are mounted into sync pods, never read. */}}
{{- define "mirrorfleet.rules" -}}
- apiGroups: [mirrorfleet.dev]
  resources: [mirrors]
  verbs: [get, list, watch, patch]
- apiGroups: [mirrorfleet.dev]
  resources: [upstreams]
  verbs: [get, list, watch]
- apiGroups: [mirrorfleet.dev]
  resources: [mirrors/status, upstreams/status]
  verbs: [patch]
# Where the API server enforces it, an owner reference that blocks deletion needs this.
- apiGroups: [mirrorfleet.dev]
  resources: [mirrors/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [persistentvolumeclaims, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Why a pod or a volume is not there stands in Events only.
- apiGroups: [""]
  resources: [events]
  verbs: [list, watch]
# The CA bundle of an Upstream, by name.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
