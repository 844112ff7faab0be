{{/* The name that all names begin with: a label of DNS of at most 50 characters. What had to be changed for that ends with
a hash of what it was, so that two releases never meet. */}}
{{- define "mirrorfleet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $whole := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) -}}
{{- $label := $whole | replace "." "-" -}}
{{- if not (regexMatch "^[a-z]" $label) -}}
{{- $label = printf "r-%s" $label -}}
{{- end -}}
{{- if or (ne $label $whole) (gt (len $label) 50) -}}
{{- printf "%s-%s" ($label | trunc 41 | trimSuffix "-") ($whole | sha256sum | trunc 8) -}}
{{- else -}}
{{- $label -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Names of what is not in the release's namespace. Neither part has a dot, so no two releases have the same. */}}
{{- define "mirrorfleet.clusterName" -}}
{{- printf "%s.%s" (include "mirrorfleet.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "mirrorfleet.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "mirrorfleet.fullname" . -}}
{{- else -}}
{{- fail "serviceAccount.create is false: say in serviceAccount.name which one is there" -}}
{{- end -}}
{{- end -}}

{{/* What the controller's pods are selected by; never changes. */}}
{{- define "mirrorfleet.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{/* Ours win. */}}
{{- define "mirrorfleet.labels" -}}
{{- $ours := include "mirrorfleet.selectorLabels" . | fromYaml -}}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63) -}}
{{- $_ := set $ours "app.kubernetes.io/part-of" .Chart.Name -}}
{{- $_ := set $ours "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- $_ := set $ours "app.kubernetes.io/managed-by" .Release.Service -}}
{{- merge $ours .Values.commonLabels | toYaml -}}
{{- end -}}

{{/* Labels, and annotations where there are any, of an object: a list of the root and of annotations of its own. */}}
{{- define "mirrorfleet.metadata" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "mirrorfleet.labels" $root | nindent 2 }}
{{- with merge (dict) (index . 1) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The same with labels by which others choose the object: a list of the root and these. */}}
{{- define "mirrorfleet.labelled" -}}
{{- $root := index . 0 -}}
labels:
  {{- merge (include "mirrorfleet.labels" $root | fromYaml) (index . 1) | toYaml | nindent 2 }}
{{- with $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Whether an object of the Prometheus operator is made: a list of the root, of `auto`, true or false, and of its kind. */}}
{{- define "mirrorfleet.monitored" -}}
{{- $root := index . 0 -}}
{{- $given := index . 1 | toString -}}
{{- if or (eq $given "true") (and (eq $given "auto") ($root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" (index . 2)))) -}}
true
{{- end -}}
{{- end -}}

{{/* The image by digest where one is given, else by tag. The first part of a name is a registry if it has a dot or a port, or
is `localhost`. */}}
{{- define "mirrorfleet.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with .Values.global.imageRegistry -}}
{{- $parts := splitList "/" $repository -}}
{{- if and (gt (len $parts) 1) (regexMatch "[.:]|^localhost$" (first $parts)) -}}
{{- $parts = rest $parts -}}
{{- end -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (join "/" $parts) -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Each Secret once, as a list of objects with a name. */}}
{{- define "mirrorfleet.pullSecrets" -}}
{{- $names := list -}}
{{- range concat .Values.imagePullSecrets .Values.global.imagePullSecrets -}}
{{- $names = append $names (kindIs "string" . | ternary . (get (kindIs "map" . | ternary . dict) "name")) -}}
{{- end -}}
{{- range $names | uniq }}
- name: {{ . | quote }}
{{- end -}}
{{- end -}}

{{/* Defaults for the pods of Mirrors, without what is not given. */}}
{{- define "mirrorfleet.pods" -}}
{{- $given := dict -}}
{{- range $key, $value := .Values.pods -}}
{{- if $value -}}
{{- $_ := set $given $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $given -}}
{{- end -}}

{{/* The namespaces in which policies of Mirrors' pods are made, as a list. */}}
{{- define "mirrorfleet.mirrorNamespaces" -}}
{{- $namespaces := .Values.networkPolicy.namespaces -}}
{{- if and (not $namespaces) .Values.namespace -}}
{{- $namespaces = list .Values.namespace -}}
{{- end -}}
{{- if not $namespaces -}}
{{- fail "networkPolicy.serving and networkPolicy.sync need networkPolicy.namespaces (or namespace): say where Mirrors live" -}}
{{- end -}}
{{- $namespaces | uniq | toJson -}}
{{- end -}}

{{/* Names are looked up wherever the cluster's or the nodes' servers are. */}}
{{- define "mirrorfleet.egressToDns" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end -}}

{{/* What the controller may do. No rule names Secrets: they are mounted into sync pods, never read. */}}
{{- define "mirrorfleet.rules" -}}
- apiGroups: [mirrorfleet.dev]
  resources: [mirrors]
  verbs: [get, list, watch, patch]
- apiGroups: [mirrorfleet.dev]
  resources: [upstreams]
  verbs: [get, list, watch{{ if .Values.push.enabled }}, patch{{ end }}]
- apiGroups: [mirrorfleet.dev]
  resources: [mirrors/status, upstreams/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
{{- if has "Ingress" .Values.routesAllowed.kinds }}
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
{{- if has "HTTPRoute" .Values.routesAllowed.kinds }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
# A pod of another template leaves when it is its turn and its budget allows it.
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
# Whether clients are still led to a region that is to be left out.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
# Why a pod or a volume is not there stands in Events only.
- apiGroups: [""]
  resources: [events]
  verbs: [list, watch]
{{- if .Values.rbac.configMaps }}
# The CA bundle of an Upstream, by name.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
