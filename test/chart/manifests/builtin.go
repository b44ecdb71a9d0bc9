package main

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	autoscalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	"k8s.io/kubernetes/pkg/apis/batch"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	batchvalidation "k8s.io/kubernetes/pkg/apis/batch/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corev1conversion "k8s.io/kubernetes/pkg/apis/core/v1"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	security "k8s.io/pod-security-admission/api"
	securitypolicy "k8s.io/pod-security-admission/policy"
)

// Where a manifest names no namespace, kubectl and helm put in the one of the release.
const namespace = "default"

func isBuiltin(kind schema.GroupVersionKind) bool { return legacyscheme.Scheme.Recognizes(kind) }

func checkBuiltin(document []byte) []error {
	codecs := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)
	object, _, err := codecs.UniversalDecoder().Decode(document, nil, nil)
	if err != nil {
		return []error{err}
	}
	if accessor, ok := object.(metav1.Object); ok && accessor.GetNamespace() == "" {
		accessor.SetNamespace(namespace)
	}
	return asErrors(validate(object))
}

func validate(object runtime.Object) field.ErrorList {
	switch typed := object.(type) {
	case *apps.Deployment:
		return append(appsvalidation.ValidateDeployment(typed, corevalidation.PodValidationOptions{}),
			secure(typed.Spec.Template)...)
	case *apps.StatefulSet:
		return append(appsvalidation.ValidateStatefulSet(typed, appsvalidation.StatefulSetValidationOptions{}, corevalidation.PodValidationOptions{}),
			secure(typed.Spec.Template)...)
	case *batch.Job:
		// The controller makes the selector; validation wants it there.
		manual := true
		typed.Spec.ManualSelector = &manual
		typed.Spec.Selector = &metav1.LabelSelector{MatchLabels: typed.Spec.Template.Labels}
		return append(batchvalidation.ValidateJobCreate(typed, batchvalidation.JobValidationOptions{}),
			secure(typed.Spec.Template)...)
	case *core.Pod:
		return append(corevalidation.ValidatePodCreate(typed, corevalidation.PodValidationOptions{}),
			secure(core.PodTemplateSpec{ObjectMeta: typed.ObjectMeta, Spec: typed.Spec})...)
	case *core.Service:
		allocate(typed)
		return corevalidation.ValidateServiceCreate(typed)
	case *core.ConfigMap:
		return corevalidation.ValidateConfigMap(typed)
	case *core.Secret:
		return corevalidation.ValidateSecret(typed)
	case *core.ServiceAccount:
		return corevalidation.ValidateServiceAccount(typed)
	case *autoscaling.HorizontalPodAutoscaler:
		return autoscalingvalidation.ValidateHorizontalPodAutoscaler(typed, autoscalingvalidation.HorizontalPodAutoscalerSpecValidationOptions{})
	case *networking.NetworkPolicy:
		return networkingvalidation.ValidateNetworkPolicy(typed, networkingvalidation.NetworkPolicyValidationOptions{})
	case *networking.Ingress:
		return networkingvalidation.ValidateIngressCreate(typed)
	case *policy.PodDisruptionBudget:
		return policyvalidation.ValidatePodDisruptionBudget(typed, policyvalidation.PodDisruptionBudgetValidationOptions{})
	}
	return field.ErrorList{field.NotSupported(field.NewPath("kind"), fmt.Sprintf("%T", object), []string{"a kind of this program"})}
}

// allocate does what the registry does before it validates.
func allocate(service *core.Service) {
	if service.Spec.ClusterIP != "" {
		service.Spec.ClusterIPs = []string{service.Spec.ClusterIP}
	}
	if service.Spec.ExternalTrafficPolicy == core.ServiceExternalTrafficPolicyLocal {
		service.Spec.HealthCheckNodePort = 30000
	}
}

// secure holds the pod to the "restricted" pod security standard, the strictest that Kubernetes knows.
func secure(template core.PodTemplateSpec) field.ErrorList {
	var external corev1.PodTemplateSpec
	if err := corev1conversion.Convert_core_PodTemplateSpec_To_v1_PodTemplateSpec(&template, &external, nil); err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	evaluator, err := securitypolicy.NewEvaluator(securitypolicy.DefaultChecks(), nil)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	restricted := security.LevelVersion{Level: security.LevelRestricted, Version: security.LatestVersion()}
	var problems field.ErrorList
	for _, result := range evaluator.EvaluatePod(restricted, &external.ObjectMeta, &external.Spec) {
		if !result.Allowed {
			problems = append(problems, field.Forbidden(field.NewPath("spec"), result.ForbiddenReason+": "+result.ForbiddenDetail))
		}
	}
	return problems
}

func asErrors(list field.ErrorList) []error {
	var all []error
	for _, one := range list {
		all = append(all, one)
	}
	return all
}
